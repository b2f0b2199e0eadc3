import { expect } from 'chai';
import fc from 'fast-check';
import { toAlert } from '../../src/alert/alert.ts';
import { readConfig } from '../../src/config.ts';
import { FailoverError } from '../../src/errors.ts';
import { Ignored } from '../../src/ignored.ts';
import { readNotification, unpack } from '../../src/alert/notification.ts';
import { apply, damage } from '../fixtures/damage.ts';
import { AlertWorld } from '../fixtures/alert-world.ts';
import { createNotification, readCaptured, toPush } from '../fixtures/notification.ts';
import type { NotificationOptions } from '../fixtures/notification.ts';
import { nodeNames, trainCluster } from '../fixtures/train-world.ts';

const restart = 'cordon_nodepool_and_restart_jobset';
const types = [
  restart,
  'cordon_nodepool',
  'cordon_and_repair_nodepool',
  'repair_nodepool',
  'uncordon_nodepool',
];

/** What a notification may be about; the names are those of the world, whose other slice nobody ever names. */
const subjects: ((node: string) => Partial<NotificationOptions>)[] = [
  (node) => ({ type: 'k8s_node', resource: { node_name: node } }),
  () => ({ type: 'k8s_node_pool', resource: { node_pool_name: 'slice-a' } }),
  () => ({ type: 'k8s_pod', resource: { namespace_name: 'default', pod_name: 'train-workers-0-0-abcde' } }),
  () => ({
    type: 'k8s_entity',
    resource: { entity_type: 'jobset', entity_namespace: 'default', entity_name: 'train' },
  }),
  (node) => ({
    type: 'gce_instance',
    clusterLabels: null,
    resource: { project_id: 'demo-project', zone: 'us-central1-a', instance_id: '42' },
    displayName: node,
  }),
];

const notification = fc.record({
  subject: fc.constantFrom(...subjects),
  state: fc.constantFrom('open', 'open', 'closed'),
  renotify: fc.constantFrom(undefined, false, true),
  isPushed: fc.boolean(),
  labels: fc.record(
    {
      failover_action: fc.constantFrom(...types),
      failover_jobset: fc.constant('train'),
      failover_expected_node_counts: fc.constant('true'),
      failover_on_close: fc.constant('uncordon_nodepool'),
    },
    { requiredKeys: ['failover_action'] },
  ),
});

const damages = fc.array(damage, { minLength: 1, maxLength: 4 });

const now = Date.parse('2026-11-23T03:00:00Z');
const config = readConfig({ CLUSTERS: trainCluster });

describe('a damaged notification', () => {
  it('is refused, ignored, or still names its own target, and throws nothing else', () => {
    const property = fc.property(notification, damages, ({ subject, labels, state, renotify }, harm) => {
      const whole = createNotification({
        ...subject('gke-tpu-1'),
        startedAt: now,
        labels,
        state,
        ...(renotify === undefined ? {} : { renotify }),
      });
      const damaged = harm.reduce<unknown>((value, each) => apply(value, each), whole);
      try {
        const { action, clusters } = toAlert(readNotification(unpack(damaged)), config, now);
        expect(clusters.map(({ fullName }) => fullName)).to.deep.equal([trainCluster]);
        expect(action.nodeName ?? 'gke-tpu-1').to.match(/^[a-z0-9.-]+$/);
        expect(action.nodePool ?? 'slice-a').to.match(/^[a-z0-9-]+$/);
        expect(action.id).to.match(/^[A-Za-z0-9._-]{1,128}$/);
        const named = [action.nodeName, action.nodePool, action.incident.subject].filter(
          (each) => each !== undefined,
        );
        expect(named).to.have.length(1);
      } catch (error) {
        if (error instanceof Ignored) return;
        if (!(error instanceof FailoverError)) throw error;
        expect(error.code).to.be.oneOf([
          'invalid_action',
          'forbidden',
          'target_not_found',
          'target_mismatch',
        ]);
      }
    });
    fc.assert(property, { numRuns: 3000 });
  });

  it('gets an answer in JSON with an id and no server error, and changes only the pool that it is about', async function () {
    const property = fc.asyncProperty(
      notification,
      damages,
      async ({ subject, isPushed, ...options }, harm) => {
        const world = new AlertWorld();
        await world.pass(60);
        const nodes = nodeNames(world.cluster, 'slice-a');
        const { renotify, ...rest } = options;
        const whole = createNotification({
          ...subject(nodes[0] ?? ''),
          ...rest,
          startedAt: world.time.now,
          ...(renotify === undefined ? {} : { renotify }),
        });
        const damaged = harm.reduce<unknown>((value, each) => apply(value, each), whole);
        const { status, body } = await world.send(
          isPushed ? toPush(damaged ?? null, { publishedAt: world.time.now }) : (damaged ?? null),
        );
        expect(status).to.be.oneOf(isPushed ? [200] : [200, 400, 403, 404, 409]);
        expect(body.id).to.match(/^[A-Za-z0-9._-]{1,128}$/);
        expect(Object.keys(body).sort().join()).to.be.oneOf(['id,steps', 'id,ignored', 'code,error,id']);
        const touched = world.emulator
          .writes()
          .flatMap(({ path }) => /^\/api\/v1\/nodes\/(.+)$/.exec(path)?.[1] ?? [])
          .filter((name) => !nodes.includes(name));
        expect(touched).to.deep.equal([]);
        for (const { instance } of world.emulator.fleet.deletions) expect(nodes).to.include(instance.name);
      },
    );
    await fc.assert(property, { numRuns: 250 });
  });

  it('is refused or ignored, or names its own target, whatever JSON it is', () => {
    const property = fc.property(fc.jsonValue(), (value) => {
      for (const body of [
        value,
        { incident: value },
        { message: value },
        toPush(value, { publishedAt: now }),
      ]) {
        expect(() => toAlert(readNotification(unpack(body)), config, now)).to.throw();
        try {
          toAlert(readNotification(unpack(body)), config, now);
        } catch (error) {
          if (!(error instanceof Ignored)) expect(error).to.be.instanceOf(FailoverError);
        }
      }
    });
    fc.assert(property, { numRuns: 1000 });
  });

  // F-1: a misspelt dry run, or `"true"` as a string, ran live.
  it('never runs live when one character of a label was mistyped', () => {
    const edit = fc.record({
      name: fc.constantFrom('failover_dry_run', 'failover_expected_node_counts', 'failover_jobset'),
      at: fc.nat(20),
      kind: fc.constantFrom('drop' as const, 'double' as const, 'replace' as const),
      by: fc.constantFrom('x', '_', '-', 'r', 'u'),
    });
    const property = fc.property(edit, ({ name, at, kind, by }) => {
      const index = 'failover_'.length + (at % (name.length - 'failover_'.length));
      const middle = { drop: '', double: `${name[index]}${name[index]}`, replace: by }[kind];
      const mistyped = name.slice(0, index) + middle + name.slice(index + 1);
      fc.pre(mistyped !== name);
      const labels = { failover_action: 'cordon_nodepool', [mistyped]: 'true' };
      const body = createNotification({ startedAt: now, labels, resource: { node_name: 'gke-tpu-1' } });
      expect(() => toAlert(readNotification(unpack(body)), config, now)).to.throw(
        FailoverError,
        /^unknown label "failover_/,
      );
    });
    fc.assert(property, { numRuns: 300 });
  });

  it('is only ignored or refused when it is a captured one with the function’s labels', () => {
    const names = ['containerClosed', 'cloudFunction', 'machine', 'documented', 'test'] as const;
    const property = fc.property(fc.constantFrom(...names), damages, (name, harm) => {
      const labels = { failover_action: 'cordon_nodepool', failover_on_close: 'uncordon_nodepool' };
      const whole = readCaptured(name, { policy_user_labels: labels, started_at: now / 1000 });
      const damaged = harm.reduce<unknown>((value, each) => apply(value, each), whole);
      let outcome: unknown;
      try {
        outcome = toAlert(readNotification(unpack(damaged)), config, now);
      } catch (error) {
        if (!(error instanceof Ignored)) expect(error).to.be.instanceOf(FailoverError);
      }
      expect(outcome).to.equal(undefined);
    });
    fc.assert(property, { numRuns: 1000 });
  });
});

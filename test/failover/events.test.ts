import type { CoreV1Event } from '@kubernetes/client-node';
import { expect } from 'chai';
import * as fc from 'fast-check';
import { parseAction } from '../../src/request/action.ts';
import { readConfig } from '../../src/config.ts';
import { FailoverError, UpstreamError } from '../../src/errors.ts';
import { emitFinished, emitStarted } from '../../src/failover/events.ts';
import type { EventTarget } from '../../src/decide/snapshot.ts';
import type { Kubernetes } from '../../src/gke/kubernetes.ts';
import { createLog } from '../../src/log.ts';

const { clusters } = readConfig({ CLUSTERS: 'projects/ml-prod/locations/us-central1/clusters/train' });
const body = {
  id: 'incident-7',
  requestor: 'alice@example.com',
  reason: 'HBM errors',
  type: 'cordon_nodepool_and_restart_jobset',
  jobset_name: 'llm',
  namespace: 'research',
  node_pool: 'pool-a',
};
const action = parseAction(body, clusters, '');
const rehearsal = parseAction({ ...body, dry_run: true }, clusters, '');
const jobSet: EventTarget = {
  apiVersion: 'jobset.x-k8s.io/v1alpha2',
  kind: 'JobSet',
  namespace: 'research',
  name: 'llm',
  uid: '6f1c',
};
const node: EventTarget = { apiVersion: 'v1', kind: 'Node', name: 'gke-tpu-3f2a9c1d-00bc', uid: '77aa' };
const now = Date.parse('2026-11-23T03:00:00Z');

describe('emitStarted', () => {
  it('writes an Event on the JobSet, as kubectl describe shows it', async () => {
    const { kubernetes, written, log } = setUp();
    await emitStarted(kubernetes, jobSet, action, log);
    const [{ namespace, body: event } = { namespace: '', body: undefined }] = written;
    expect(namespace).to.equal('research');
    expect(event?.metadata.name).to.match(/^llm\.[0-9a-f]{16}$/);
    expect(event).to.deep.equal({
      metadata: {
        name: event?.metadata.name,
        namespace: 'research',
        annotations: {
          'autometric-failover/id': 'incident-7',
          'autometric-failover/requestor': 'alice@example.com',
        },
      },
      involvedObject: jobSet,
      type: 'Normal',
      reason: 'FailoverActionTriggered',
      message:
        'Failover action triggered: cordon_nodepool_and_restart_jobset: HBM errors (action incident-7 of alice@example.com)',
      firstTimestamp: new Date(now),
      lastTimestamp: new Date(now),
      count: 1,
      source: { component: 'autometric-failover' },
    });
  });

  it('writes an Event on a Node in namespace default, where Events of cluster-wide objects are', async () => {
    const { kubernetes, written, log } = setUp();
    await emitStarted(kubernetes, node, action, log);
    expect(written[0]).to.deep.include({ namespace: 'default' });
    expect(written[0]?.body.metadata.namespace).to.equal('default');
    expect(written[0]?.body.involvedObject).to.deep.equal(node);
  });

  it('says that a dry run is one, under a name of its own', async () => {
    const { kubernetes, written, log } = setUp();
    await emitStarted(kubernetes, jobSet, action, log);
    await emitStarted(kubernetes, jobSet, rehearsal, log);
    expect(written.map(({ body: event }) => event.reason)).to.deep.equal([
      'FailoverActionTriggered',
      'DryRunFailoverActionTriggered',
    ]);
    expect(namesOf(written)).to.have.property('size', 2);
  });

  it('gives a retry the same name, and another object, action or phase a different name', async () => {
    const { kubernetes, written, log } = setUp();
    await emitStarted(kubernetes, jobSet, action, log);
    await emitStarted(kubernetes, jobSet, { ...action, requestor: 'bob', reason: 'again' }, log);
    expect(namesOf(written)).to.have.property('size', 1);
    await emitStarted(kubernetes, { ...jobSet, uid: '6f1d' }, action, log);
    await emitStarted(kubernetes, jobSet, { ...action, id: 'incident-8' }, log);
    await emitFinished(kubernetes, jobSet, action, log, { message: 'x' });
    expect(namesOf(written)).to.have.property('size', 4);
  });

  it('waits at most 5 s for an Event, because it must not hold the action up', async () => {
    const { kubernetes, patience, log } = setUp();
    await emitStarted(kubernetes, jobSet, action, log);
    expect(patience).to.deep.equal([5000]);
  });

  it('accepts an Event that exists already as its own', async () => {
    const { kubernetes, lines, log } = setUp(
      new UpstreamError({ api: 'Kubernetes API', call: 'POST', status: 409 }),
    );
    await emitStarted(kubernetes, jobSet, action, log);
    expect(lines).to.deep.equal([]);
  });

  it('logs an Event that cannot be written, and goes on', async () => {
    const failure = new UpstreamError({ api: 'Kubernetes API', call: 'POST /events', status: 403 });
    const { kubernetes, lines, log } = setUp(failure);
    await emitStarted(kubernetes, jobSet, action, log);
    expect(lines).to.deep.equal([
      {
        severity: 'WARNING',
        event: 'warning',
        message: 'the Event FailoverActionTriggered could not be written',
        error: 'the Kubernetes API answered 403 (POST /events)',
      },
    ]);
  });

  it('cuts a message to the 1,024 bytes that the API server takes, between characters', async () => {
    const { kubernetes, written, log } = setUp();
    for (const letter of ['x', 'ü', '切', '🔥']) {
      for (const before of ['', '1', '12', '123']) {
        const reason = before + letter.repeat(1024 - before.length).slice(0, 1024 - before.length);
        await emitStarted(kubernetes, jobSet, { ...action, reason }, log);
        const message = written.at(-1)?.body.message ?? '';
        expect(Buffer.byteLength(message)).to.be.within(1021, 1024);
        expect(message.isWellFormed()).to.equal(true);
        expect(`Failover action triggered: ${action.type}: ${reason}`).to.match(new RegExp(`^${message}`));
      }
    }
  });

  it('makes a valid name for an Event, whatever the name of the object', async () => {
    const label = fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/);
    const names = fc
      .array(label, { minLength: 1, maxLength: 8 })
      .map((labels) => labels.join('.'))
      .filter((name) => name.length <= 253);
    await fc.assert(
      fc.asyncProperty(names, async (name) => {
        const { kubernetes, written, log } = setUp();
        await emitStarted(kubernetes, { ...node, name }, action, log);
        expect(written[0]?.body.metadata.name)
          .to.match(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/)
          .and.to.have.lengthOf.at.most(253);
      }),
      {
        examples: [
          [`${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(7)}.e`],
          [`${'a'.repeat(199)}-b`],
          [['a', 'b', 'c'].map((letter) => `${letter.repeat(63)}.`).join('') + 'd'.repeat(61)],
        ],
      },
    );
  });
});

// F-63: one Event before acting, none after: nobody knew who acted, why, or whether it worked.
describe('emitFinished', () => {
  for (const { name, outcome, event } of [
    {
      name: 'a success',
      outcome: { message: 'cordon pool-a: 16 nodes cordoned' },
      event: {
        type: 'Normal',
        reason: 'FailoverActionSucceeded',
        message:
          'cordon_nodepool_and_restart_jobset succeeded (action incident-7 of alice@example.com): ' +
          'cordon pool-a: 16 nodes cordoned',
      },
    },
    {
      name: 'a refusal',
      outcome: { error: new FailoverError('restart_refused', 'JobSet research/llm is suspended') },
      event: {
        type: 'Warning',
        reason: 'FailoverActionRefused',
        message:
          'cordon_nodepool_and_restart_jobset refused with restart_refused (action incident-7 of alice@example.com): ' +
          'JobSet research/llm is suspended',
      },
    },
    {
      name: 'a failure',
      outcome: {
        error: new UpstreamError({
          api: 'Compute API',
          call: 'DELETE projects/p/zones/z/instances/1',
          status: 503,
          cause: new Error('secret in a body'),
        }),
      },
      event: {
        type: 'Warning',
        reason: 'FailoverActionFailed',
        message:
          'cordon_nodepool_and_restart_jobset failed with upstream_failed (action incident-7 of alice@example.com): ' +
          'the Compute API answered 503 (DELETE projects/p/zones/z/instances/1)',
      },
    },
  ]) {
    it(`tells ${name}, whose action it was, and why`, async () => {
      const { kubernetes, written, log } = setUp();
      await emitFinished(kubernetes, jobSet, action, log, outcome);
      expect(written[0]?.body).to.include(event);
      expect(written[0]?.body.metadata.annotations).to.deep.equal({
        'autometric-failover/id': 'incident-7',
        'autometric-failover/requestor': 'alice@example.com',
      });
    });
  }

  it('gives each outcome a name of its own, so that a later success shows beside an earlier failure', async () => {
    const { kubernetes, written, log } = setUp();
    await emitFinished(kubernetes, jobSet, action, log, { message: 'x' });
    await emitFinished(kubernetes, jobSet, action, log, { error: new FailoverError('paused', 'x') });
    await emitFinished(kubernetes, jobSet, action, log, { error: new FailoverError('internal', 'x') });
    expect(namesOf(written)).to.have.property('size', 3);
  });
});

interface WrittenEvent {
  namespace: string;
  body: CoreV1Event;
}

/** A Kubernetes API that only takes Events, or refuses them. */
function setUp(failure?: Error) {
  const written: WrittenEvent[] = [];
  const lines: unknown[] = [];
  const createNamespacedEvent = async (request: WrittenEvent) => {
    if (failure) throw failure;
    written.push(request);
  };
  const patience: number[] = [];
  const within = (ms: number) => {
    patience.push(ms);
    return kubernetes;
  };
  const kubernetes = {
    core: { createNamespacedEvent },
    serverNow: () => now,
    within,
  } as unknown as Kubernetes;
  return { kubernetes, written, patience, lines, log: createLog((line) => lines.push(JSON.parse(line))) };
}

function namesOf(written: WrittenEvent[]): Set<string | undefined> {
  return new Set(written.map(({ body: event }) => event.metadata.name));
}

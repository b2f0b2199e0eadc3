import { expect } from 'chai';
import { failoverNamespace } from '../../src/names.ts';
import type { Event } from '../emulator/objects.ts';
import { countEffects, countWrites } from '../fixtures/count-writes.ts';
import { countCordoned, nodeNames, whereTrainRuns } from '../fixtures/train-world.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

const cordon = { id: 'a', type: 'cordon_nodepool', node_pool: 'slice-a' };
const restart = { ...cordon, type: 'cordon_nodepool_and_restart_jobset', jobset_name: 'train' };
const repair = { ...cordon, type: 'cordon_and_repair_nodepool' };
const repairOnly = { ...cordon, type: 'repair_nodepool' };
const uncordon = { ...cordon, type: 'uncordon_nodepool' };

/** Our own Events, as `reason: message`. */
function ownEvents({ cluster }: VirtualFailover): string[] {
  return events({ cluster }).map(({ reason, message }) => `${reason}: ${message}`);
}

function events({ cluster }: Pick<VirtualFailover, 'cluster'>): Event[] {
  return cluster.events().filter(({ source }) => source?.component === 'autometric-failover');
}

/** Who holds a lock, if anybody does. */
function holders({ cluster }: VirtualFailover): string[] {
  return cluster
    .leases(failoverNamespace)
    .filter(({ metadata }) => metadata.name.startsWith('pool-'))
    .flatMap(({ spec }) => spec.holderIdentity ?? []);
}

function leaseNames({ cluster }: VirtualFailover): string[] {
  return cluster
    .leases(failoverNamespace)
    .map(({ metadata }) => metadata.name.replace(/-[0-9a-f]{32}$/, ''))
    .filter((name) => name !== 'refusals');
}

/** A person annotates the Lease `cluster`. */
function annotate({ cluster }: VirtualFailover, key: string, value: string): void {
  cluster.change('leases', failoverNamespace, 'cluster', ({ metadata }) => {
    metadata.annotations = { ...metadata.annotations, [`autometric-failover/${key}`]: value };
  });
}

describe('failover', () => {
  it('cordons a pool', async () => {
    const world = new VirtualFailover();
    const answer = await world.send(cordon);
    expect(answer).to.deep.equal({
      status: 200,
      isReplay: false,
      steps: [{ step: 'cordon', target: 'slice-a', nodes: 4, cordoned: 4, already_cordoned: 0 }],
    });
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
    expect(countEffects(world.newWrites())).to.deep.equal({ 'PATCH nodes': 4 });
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-a #0']);
    expect(holders(world)).to.deep.equal([]);
  });

  it('cordons a pool and restarts its JobSet elsewhere', async () => {
    const world = new VirtualFailover();
    const { steps } = await world.send(restart);
    expect(steps.map(({ step }) => step)).to.deep.equal(['cordon', 'restart']);
    expect(steps[1]).to.include({ outcome: 'restarted', way: 'leader_pod', schedulable_elsewhere: 4 });
    await world.pass(5);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
    expect(countEffects(world.newWrites())).to.deep.equal({ 'PATCH nodes': 4, 'DELETE pods': 1 });
  });

  it('finds the pool of a JobSet by itself', async () => {
    const world = new VirtualFailover();
    const { steps } = await world.send({ ...restart, node_pool: null });
    expect(steps.map(({ step, target }) => `${step} ${target}`)).to.deep.equal([
      'cordon slice-a',
      'restart default/train',
    ]);
  });

  it('cordons a pool and repairs its worst machine', async () => {
    const world = new VirtualFailover();
    const bad = nodeNames(world.cluster, 'slice-a')[2] ?? '';
    world.cluster.killNode(bad);
    const { steps } = await world.send(repair);
    expect(steps.map(({ step }) => step)).to.deep.equal(['cordon', 'repair']);
    expect(steps[1]).to.include({ target: bad, outcome: 'deletion_accepted' });
    expect(world.emulator.fleet.deletions.map(({ instance }) => instance.name)).to.deep.equal([bad]);
    expect(countEffects(world.newWrites())).to.deep.equal({ 'PATCH nodes': 4, 'DELETE instances': 1 });
  });

  it('repairs a machine and cordons nothing', async () => {
    const world = new VirtualFailover();
    const bad = nodeNames(world.cluster, 'slice-a')[1] ?? '';
    const { steps } = await world.send({ ...repairOnly, node_pool: null, node_name: bad });
    expect(steps.map(({ step, target }) => `${step} ${target}`)).to.deep.equal([`repair ${bad}`]);
    expect(countEffects(world.newWrites())).to.deep.equal({ 'DELETE instances': 1 });
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
  });

  it('uncordons what it has cordoned', async () => {
    const world = new VirtualFailover();
    await world.send(cordon);
    world.newWrites();
    const { steps } = await world.send({ ...uncordon, id: 'undo' });
    expect(steps).to.deep.equal([{ step: 'uncordon', target: 'slice-a', nodes: 4, uncordoned: 4, kept: 0 }]);
    expect(countEffects(world.newWrites())).to.deep.equal({ 'PATCH nodes': 4 });
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
  });

  for (const [what, body] of Object.entries({ cordon, restart, repair, repairOnly, uncordon })) {
    // F-14: the alert kept firing after success: five runs for one incident.
    it(`answers ${what} five times and does it once`, async () => {
      const world = new VirtualFailover();
      const first = await world.send(body);
      expect(first.status).to.equal(200);
      await world.pass(300);
      const effects = countEffects(world.newWrites());
      for (let time = 2; time <= 5; time++) {
        expect(await world.send({ ...body, reason: `time ${time}` })).to.deep.equal({
          ...first,
          isReplay: true,
        });
      }
      expect(world.newWrites()).to.deep.equal([]);
      expect(Object.keys(effects)).to.have.length(
        what === 'uncordon' ? 0 : what === 'cordon' || what === 'repairOnly' ? 1 : 2,
      );
    });

    // A dry run makes no mutating request but its Event.
    it(`makes a dry run of ${what} with no write but its Event, and leaves no trace`, async () => {
      const world = new VirtualFailover();
      const before = leaseNames(world);
      const answer = await world.send({ ...body, dry_run: true });
      expect(answer).to.deep.include({ status: 200, isReplay: false });
      const outcomes = answer.steps.map(({ outcome }) => outcome);
      expect(outcomes).to.have.length(what === 'restart' || what === 'repair' ? 2 : 1);
      for (const outcome of outcomes) expect(outcome).to.match(/^would_/);
      expect(countWrites(world.newWrites())).to.deep.equal({ 'POST events': 1 });
      expect(events(world).map(({ reason }) => reason)).to.deep.equal(['DryRunFailoverActionTriggered']);
      expect(leaseNames(world)).to.deep.equal(before);
      expect((await world.send(body)).isReplay).to.equal(false);
    });

    // F-63: one Event before acting, none after: nobody knew who acted, why, or whether it worked.
    it(`emits an Event before and after ${what}`, async () => {
      const world = new VirtualFailover();
      await world.send({ ...body, requestor: 'kim', reason: 'link errors' });
      expect(events(world).map(({ reason }) => reason)).to.deep.equal([
        'FailoverActionTriggered',
        'FailoverActionSucceeded',
      ]);
      const [before, after] = events(world);
      expect(before?.message).to.equal(
        `Failover action triggered: ${body.type}: link errors (action a of kim)`,
      );
      expect(after?.message).to.match(new RegExp(`^${body.type} succeeded \\(action a of kim\\): `));
      for (const event of [before, after]) {
        expect(event?.metadata.annotations).to.deep.equal({
          'autometric-failover/id': 'a',
          'autometric-failover/requestor': 'kim',
        });
        expect(event?.involvedObject).to.include(
          what === 'restart' ? { kind: 'JobSet', name: 'train' } : { kind: 'Node' },
        );
      }
    });
  }

  it('goes on when no Event can be written', async () => {
    const world = new VirtualFailover();
    world.cluster.deny({ verb: 'create', resource: 'events' });
    expect((await world.send(restart)).status).to.equal(200);
    expect(ownEvents(world)).to.deep.equal([]);
    expect(countEffects(world.newWrites())).to.deep.equal({ 'PATCH nodes': 4, 'DELETE pods': 1 });
  });

  // F-50: pods landed on nodes that were about to be cordoned.
  it('deletes nothing before the last cordon has landed', async () => {
    for (const body of [restart, repair]) {
      const world = new VirtualFailover();
      await world.send(body);
      const effects = world
        .newWrites()
        .filter(({ path }) => !/\/(leases|events)/.test(path))
        .map(({ method }) => method);
      expect(effects).to.deep.equal(['PATCH', 'PATCH', 'PATCH', 'PATCH', 'DELETE']);
    }
  });

  it('deletes nothing when one node cannot be cordoned, says how many are, and resumes', async () => {
    for (const body of [restart, repair]) {
      const world = new VirtualFailover();
      const bad = nodeNames(world.cluster, 'slice-a')[3] ?? '';
      const path = new RegExp(`/nodes/${bad}`);
      world.emulator.faults.add({ method: 'PATCH', path, times: 5, effect: { status: 500 } });
      const answer = await world.send(body);
      expect(answer).to.include({ status: 502, code: 'upstream_failed' });
      expect(answer.error).to.match(
        /3 nodes were cordoned, 1 were not .*; nothing was deleted, send the same id again/,
      );
      expect(countEffects(world.newWrites())).not.to.have.any.keys('DELETE pods', 'DELETE instances');
      expect(holders(world)).to.deep.equal([]);
      const again = await world.send(body);
      expect(again.status).to.equal(200);
      expect(again.steps[0]).to.include({ nodes: 4, cordoned: 1, already_cordoned: 3 });
      expect(countEffects(world.newWrites())).to.have.any.keys('DELETE pods', 'DELETE instances');
    }
  });

  // F-51: a node joins the pool during the action: the pool is listed again.
  it('cordons a node that joined during the action before it deletes', async () => {
    for (const [body, moment] of [
      [restart, /^PATCH .*\/nodes\//],
      [restart, /^GET .*\/jobs$/],
      [repair, /^PATCH .*\/nodes\//],
    ] as const) {
      const world = new VirtualFailover();
      world.once(moment, () => world.cluster.joinNode('slice-a'));
      expect((await world.send(body)).status).to.equal(200);
      expect(world.isAllDone).to.equal(true);
      expect(countCordoned(world.cluster, 'slice-a')).to.equal(5);
      const methods = world
        .newWrites()
        .flatMap(({ method, path }) => (/leases|events/.test(path) ? [] : method));
      expect(methods.lastIndexOf('PATCH')).to.be.lessThan(methods.indexOf('DELETE'));
    }
  });

  it('starts a list again when its remaining pages were dropped', async () => {
    const world = new VirtualFailover({ slice: { nodes: 501 }, jobSet: null, slices: ['slice-a'] });
    world.once(/^GET .*\/nodes$/, () => {
      world.emulator.faults.add({
        method: 'GET',
        path: /nodes\?.*continue=/,
        effect: { status: 410, body: { kind: 'Status', reason: 'Expired' } },
      });
    });
    const { steps } = await world.send(cordon);
    expect(steps[0]).to.include({ nodes: 501, cordoned: 501 });
    expect(world.emulator.faults.pending).to.deep.equal([]);
  });

  it('warns that the previous action on the pool is unfinished', async () => {
    const world = new VirtualFailover();
    world.cluster.deny({ verb: 'delete', resource: 'pods' });
    await world.send({ ...restart, id: 'first' });
    const { status, steps } = await world.send({ ...cordon, id: 'second' });
    expect(status).to.equal(200);
    const notice = 'action first was left unfinished on this pool; send it again to finish it';
    expect(steps[0]).to.deep.equal({ step: 'notice', target: 'slice-a', unfinished_action: 'first', notice });
    expect(ownEvents(world).filter((event) => event.includes(`notice slice-a: ${notice}`))).to.have.length(1);
  });

  it('sweeps at most once an hour the records that are done for a week, and no unfinished record', async () => {
    const world = new VirtualFailover();
    await world.send({ ...cordon, id: 'done' });
    world.cluster.deny({ verb: 'delete', resource: 'pods' });
    await world.send({ ...restart, id: 'unfinished' });
    expect(leaseNames(world).filter((name) => name === 'action')).to.have.length(2);
    await world.pass(8 * 24 * 3600);
    await world.send({ ...cordon, id: 'next' });
    const ids = world.cluster
      .leases(failoverNamespace)
      .flatMap(({ metadata }) => metadata.annotations?.['autometric-failover/id'] ?? []);
    expect(ids.sort()).to.deep.equal(['next', 'unfinished']);
  });
});

// F-17: the lock was kept although a guard refused.
describe('failover, when it refuses', () => {
  const cases: {
    what: string;
    body: Record<string, unknown>;
    world?: ConstructorParameters<typeof VirtualFailover>[0];
    change?: (world: VirtualFailover) => void;
    code: string;
    status: number;
    /** Whether the refusal is shown on an object. */
    isShown: boolean;
  }[] = [
    {
      what: 'a pool without nodes',
      body: { ...cordon, node_pool: 'typo' },
      code: 'target_not_found',
      status: 404,
      isShown: false,
    },
    {
      what: 'a node that does not exist',
      body: { ...cordon, node_pool: null, node_name: 'gke-typo' },
      code: 'target_not_found',
      status: 404,
      isShown: false,
    },
    {
      what: 'a JobSet that does not exist',
      body: { ...restart, jobset_name: 'typo' },
      code: 'target_not_found',
      status: 404,
      isShown: true,
    },
    {
      what: 'a pool that is not as its topology says',
      body: { ...restart, preflight_checks: { expected_node_counts: true } },
      change: ({ cluster }) => void cluster.joinNode('slice-a'),
      code: 'preflight_refused',
      status: 409,
      isShown: true,
    },
    {
      what: 'a restart that it does not know how to do',
      body: restart,
      world: { jobSet: { failurePolicy: { maxRestarts: 3, restartStrategy: 'InPlaceRestart' } } },
      code: 'restart_refused',
      status: 409,
      isShown: true,
    },
    {
      what: 'a repair of a machine that cannot be told',
      body: repair,
      change: ({ cluster }) =>
        nodeNames(cluster, 'slice-a').forEach((name) =>
          cluster.change('nodes', undefined, name, ({ metadata }) => {
            delete metadata.labels?.['cloud.google.com/gke-tpu-topology'];
          }),
        ),
      code: 'target_ambiguous',
      status: 409,
      isShown: true,
    },
    {
      what: 'a machine of another project',
      body: repair,
      change: ({ cluster }) =>
        nodeNames(cluster, 'slice-a').forEach((name) =>
          cluster.change('nodes', undefined, name, ({ spec }) => {
            spec.providerID = `gce://other-project/us-central1-a/${name}`;
          }),
        ),
      code: 'repair_refused',
      status: 409,
      isShown: true,
    },
    {
      what: 'while it is paused',
      body: cordon,
      change: (world) => annotate(world, 'paused', 'x'),
      code: 'paused',
      status: 409,
      isShown: true,
    },
  ];
  for (const { what, body, world: options, change, code, status, isShown } of cases) {
    it(`refuses ${what}: changes nothing, keeps no record, and gives the lock back at once`, async () => {
      const world = new VirtualFailover(options);
      change?.(world);
      const before = leaseNames(world);
      const answer = await world.send(body);
      expect(answer).to.include({ code, status });
      expect(countEffects(world.newWrites())).to.deep.equal({});
      expect(leaseNames(world)).to.deep.equal(before);
      const shown = ownEvents(world).map((event) => event.split(':')[0]);
      expect(shown).to.deep.equal(isShown ? ['FailoverActionRefused'] : []);
      if (isShown) {
        expect(ownEvents(world)[0]).to.include(`refused with ${code} (action a of test): ${answer.error}`);
      }
      // The same id is free for another action.
      annotate(world, 'paused', '');
      world.cluster.change(
        'leases',
        failoverNamespace,
        'cluster',
        ({ metadata }) => delete metadata.annotations,
      );
      expect((await world.send({ ...uncordon, node_pool: 'slice-b' })).status).to.equal(200);
    });
  }

  it('gives back its record and lock when the budget is used up meanwhile', async () => {
    const world = new VirtualFailover({ environment: { MAX_POOLS_PER_HOUR: '1' } });
    world.once(/^POST .*\/events$/, () => {
      annotate(world, 'pools', JSON.stringify({ other: new Date(world.time.now).toISOString() }));
    });
    expect(await world.send(cordon)).to.include({ status: 429, code: 'budget_exceeded' });
    expect(leaseNames(world)).to.deep.equal(['cluster']);
    expect(countEffects(world.newWrites())).to.deep.equal({});
  });

  // Nothing of an action may be under way once another can have the pool.
  it('gives its record and lock back only after the Event that it was writing', async () => {
    const world = new VirtualFailover();
    world.emulator.faults.add({ path: /\/events$/, times: 1, effect: 'reset_before' });
    world.emulator.faults.add({
      method: 'PUT',
      path: /\/leases\/cluster$/,
      times: Infinity,
      effect: { status: 403 },
    });
    expect(await world.send(cordon)).to.include({ status: 502, code: 'upstream_failed' });
    const ends = world
      .newWrites()
      .map(({ method, path }) => `${method} ${/events|action|pool|cluster/.exec(path)?.[0]}`);
    const since = ends.slice(ends.indexOf('PUT cluster'));
    expect(since).to.deep.equal([
      'PUT cluster',
      'PUT action',
      'POST events',
      'POST events',
      'DELETE action',
      'DELETE pool',
      'POST events',
    ]);
  });
});

// Every 403 says which permission is missing, and what it came from: an upstream, not the caller.
describe('failover without a permission', () => {
  const denials: {
    verb: 'get' | 'list' | 'create' | 'update' | 'patch' | 'delete';
    resource: string;
    body: Record<string, unknown>;
    /** The action names a node of the pool instead of the pool. */
    namesNode?: boolean;
    where: string;
  }[] = [
    { verb: 'get', resource: 'leases', body: cordon, where: ' in namespace autometric-failover-system' },
    { verb: 'create', resource: 'leases', body: cordon, where: ' in namespace autometric-failover-system' },
    { verb: 'update', resource: 'leases', body: cordon, where: ' in namespace autometric-failover-system' },
    { verb: 'list', resource: 'nodes', body: cordon, where: '' },
    { verb: 'get', resource: 'nodes', body: { ...cordon, node_pool: null }, namesNode: true, where: '' },
    { verb: 'patch', resource: 'nodes', body: cordon, where: '' },
    { verb: 'get', resource: 'jobsets', body: restart, where: ' in namespace default' },
    { verb: 'list', resource: 'jobs', body: restart, where: ' in namespace default' },
    { verb: 'list', resource: 'pods', body: restart, where: ' in namespace default' },
    { verb: 'delete', resource: 'pods', body: restart, where: ' in namespace default' },
  ];
  for (const { verb, resource, body: action, namesNode, where } of denials) {
    it(`names ${verb} ${resource}, and resumes once it is granted`, async () => {
      const world = new VirtualFailover();
      const [node] = nodeNames(world.cluster, 'slice-a');
      const body = namesNode ? { ...action, node_name: node } : action;
      const grant = world.cluster.deny({ verb, resource });
      const answer = await world.send(body);
      expect(answer).to.include({ status: 502, code: 'upstream_failed' });
      expect(answer.error).to.include(
        `the function's service account may not ${verb} ${resource}${where}: deploy/rbac.sh`,
      );
      expect(
        countEffects(world.emulator.writes().filter(({ status }) => status === 200)),
      ).not.to.have.any.keys('DELETE pods', 'DELETE instances');
      grant();
      // A lock that could not be given back expires.
      await world.pass(75);
      expect((await world.send(body)).status).to.equal(200);
      expect(holders(world)).to.deep.equal([]);
    });
  }

  it('names the permission of Compute', async () => {
    const world = new VirtualFailover();
    world.emulator.faults.add({ api: 'compute', times: 2, effect: { status: 403 } });
    const answer = await world.send(repair);
    expect(answer).to.include({ status: 502, code: 'upstream_failed' });
    expect(answer.error).to.match(/^the Compute API answered 403 Forbidden \(DELETE /);
    // F-39: Compute answered 403, and the permission was corrected: the next try is not rate limited.
    expect((await world.send({ ...repair, id: 'another' })).status).to.equal(200);
    expect(world.emulator.fleet.deletions).to.have.length(1);
  });
});

import { expect } from 'chai';
import { Emulator } from './emulator.ts';
import type { Fault } from './faults.ts';
import { ConnectionLost, NeverAnswered } from './http.ts';
import type { HttpResponse } from './http.ts';
import { createDemoWorld, demoCluster } from './scenario.ts';
import { createTestWorld, indexOf, toRequest } from './test-world.ts';
import type { TestWorld } from './test-world.ts';

const nodesPath = '/api/v1/nodes';

describe('Emulator', () => {
  it('records every request of every API in order, with its answer', () => {
    const { emulator, cluster, now } = createTestWorld();
    const body = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'team' } };
    cluster.handle(toRequest(emulator, 'GET', `${nodesPath}?limit=5`));
    emulator.handleContainer(toRequest(emulator, 'GET', '/v1/projects/p/locations/-/clusters'));
    cluster.handle(toRequest(emulator, 'POST', '/api/v1/namespaces', body));
    emulator.handleCompute(toRequest(emulator, 'DELETE', '/compute/v1/projects/p/zones/z/instances/none'));
    emulator.handleMetadata(toRequest(emulator, 'GET', '/computeMetadata/v1/project/project-id'));
    const seen = emulator.requests.map(({ api, method, path, status, sequence }) => [
      sequence,
      api,
      method,
      path,
      status,
    ]);
    expect(seen).to.deep.equal([
      [0, 'kubernetes', 'GET', nodesPath, 200],
      [1, 'container', 'GET', '/v1/projects/p/locations/-/clusters', 200],
      [2, 'kubernetes', 'POST', '/api/v1/namespaces', 201],
      [3, 'compute', 'DELETE', '/compute/v1/projects/p/zones/z/instances/none', 404],
      [4, 'metadata', 'GET', '/computeMetadata/v1/project/project-id', 403],
    ]);
    expect(emulator.requests[0]).to.deep.include({ query: { limit: '5' }, at: now() });
    expect(emulator.requests[2]?.body).to.deep.equal(body);
    expect(emulator.writes().map(({ sequence }) => sequence)).to.deep.equal([2, 3]);
  });

  it('dates its responses by its own clock', () => {
    const { emulator, cluster, advance } = createTestWorld();
    advance(90);
    const { headers } = cluster.handle(toRequest(emulator, 'GET', `${nodesPath}/none`));
    expect(headers['date']).to.equal('Thu, 01 Jan 2026 00:01:30 GMT');
  });

  it('builds the same world and the same run from the same seed', () => {
    const run = (seed: number): unknown => {
      const now = Date.parse('2026-01-01T00:00:00Z');
      const emulator = new Emulator({ now: () => now, seed });
      const cluster = createDemoWorld(emulator, { hasSliceC: true });
      const [leader] = cluster.pods().filter((pod) => indexOf(pod) === 0);
      cluster.ask('DELETE', `/api/v1/namespaces/default/pods/${leader?.metadata.name}`, {
        gracePeriodSeconds: 0,
      });
      emulator.settle();
      return [
        cluster.nodes(),
        cluster.pods(),
        cluster.jobs(),
        cluster.jobsets(),
        cluster.events(),
        emulator.fleet.list().map(({ id }) => id),
      ];
    };
    expect(run(7)).to.deep.equal(run(7));
    expect(run(7)).not.to.deep.equal(run(8));
  });

  it('changes nothing as long as nothing is due', () => {
    const { emulator, cluster, advance } = createTestWorld();
    cluster.addTpuSlice('slice-a');
    cluster.addJobSet({ name: 'train', replicatedJobs: [{ name: 'w', parallelism: 16 }] });
    advance(0);
    expect(emulator.reconcile()).to.equal(false);
    advance(1);
    expect(emulator.reconcile()).to.equal(false);
  });

  it('returns copies, so a test that changes them changes nothing in the store', () => {
    const { cluster } = createTestWorld();
    const [name = ''] = cluster.addTpuSlice('slice-a');
    const [node] = cluster.nodes('slice-a');
    if (node) node.spec.unschedulable = true;
    expect(cluster.get('nodes', undefined, name)?.spec).not.to.have.property('unschedulable');
  });

  it('cordons 2,304 nodes and moves a JobSet of as many pods', () => {
    const { emulator, cluster, advance } = createTestWorld();
    const names = cluster.addTpuSlice('big-a', { topology: '16x24x24' });
    cluster.addTpuSlice('big-b', { topology: '16x24x24' });
    expect(new Set(names).size).to.equal(2304);
    cluster.addJobSet({
      name: 'train',
      exclusiveTopology: 'cloud.google.com/gke-nodepool',
      replicatedJobs: [{ name: 'w', parallelism: 2304, backoffLimit: 0 }],
    });
    advance(0);
    for (const name of names) cluster.cordonAs('kubectl', name, true);
    const query = new URLSearchParams({
      labelSelector: 'cloud.google.com/gke-nodepool=big-a',
      fieldSelector: 'spec.unschedulable!=true',
    });
    const left = cluster.handle(toRequest(emulator, 'GET', `${nodesPath}?${query.toString()}`));
    expect(JSON.parse(left.body)).to.have.property('items').that.deep.equals([]);
    const leader = cluster.pods().find((pod) => indexOf(pod) === 0);
    cluster.ask('DELETE', `/api/v1/namespaces/default/pods/${leader?.metadata.name}`, {
      gracePeriodSeconds: 0,
    });
    advance(1);
    const onB = new Set(cluster.nodes('big-b').map(({ metadata }) => metadata.name));
    const running = cluster
      .pods()
      .filter(({ spec, status }) => status.phase === 'Running' && onB.has(spec.nodeName ?? ''));
    expect(running).to.have.length(2304);
  });
});

describe('Faults', () => {
  const cases: { effect: Fault['effect']; isApplied: boolean; outcome: string; status?: number }[] = [
    { effect: { status: 503 }, isApplied: false, outcome: '503', status: 503 },
    { effect: { status: 504, isApplied: true }, isApplied: true, outcome: '504', status: 504 },
    { effect: 'reset_before', isApplied: false, outcome: 'ConnectionLost' },
    { effect: 'reset_after', isApplied: true, outcome: 'ConnectionLost', status: 201 },
    { effect: 'refuse', isApplied: false, outcome: 'ConnectionLost' },
    { effect: 'hang', isApplied: false, outcome: 'NeverAnswered' },
    { effect: 'hang_after', isApplied: true, outcome: 'NeverAnswered', status: 201 },
    { effect: 'malformed', isApplied: true, outcome: '200', status: 201 },
    { effect: 'none', isApplied: true, outcome: '201', status: 201 },
  ];
  for (const { effect, isApplied, outcome, status } of cases) {
    it(`${typeof effect === 'string' ? effect : `status ${effect.status}`}: ${outcome}, ${isApplied ? '' : 'not '}carried out`, () => {
      const world = createTestWorld();
      world.emulator.faults.add({ api: 'kubernetes', method: 'POST', effect });
      expect(outcomeOf(() => createNamespace(world, 'team'))).to.equal(outcome);
      expect(world.cluster.get('namespaces', undefined, 'team') !== undefined).to.equal(isApplied);
      expect(world.emulator.requests[0]?.status).to.equal(status);
      expect(world.emulator.requests[0]?.fault?.effect).to.equal(effect);
    });
  }

  it('says whether the request of a lost connection was carried out', () => {
    const world = createTestWorld();
    world.emulator.faults.add({ effect: 'reset_before' });
    world.emulator.faults.add({ effect: 'reset_after' });
    world.emulator.faults.add({ effect: 'refuse' });
    const lost = ['a', 'b', 'c'].map(
      (name) => catchError(() => createNamespace(world, name)) as ConnectionLost,
    );
    expect(lost.map(({ applied, refused }) => ({ applied, refused }))).to.deep.equal([
      { applied: false, refused: false },
      { applied: true, refused: false },
      { applied: false, refused: true },
    ]);
  });

  it('strikes the given number of times, after the given number of skips, only matching requests', () => {
    const world = createTestWorld();
    world.emulator.faults.add({
      method: 'POST',
      path: /namespaces$/,
      skip: 1,
      times: 2,
      effect: { status: 500 },
    });
    expect(world.emulator.faults.pending).to.have.length(1);
    expect(getNodes(world).status).to.equal(200);
    const statuses = ['a', 'b', 'c', 'd'].map((name) => createNamespace(world, name).status);
    expect(statuses).to.deep.equal([201, 500, 500, 201]);
    expect(world.emulator.faults.pending).to.deep.equal([]);
  });

  it('matches by API, cluster and request, and can be removed', () => {
    const world = createTestWorld();
    const { faults } = world.emulator;
    faults.add({ api: 'compute', times: Infinity, effect: { status: 500 } });
    faults.add({ cluster: demoCluster, times: Infinity, effect: { status: 500 } });
    faults.add({ match: ({ query }) => query['limit'] === '3', times: Infinity, effect: { status: 500 } });
    expect(getNodes(world).status).to.equal(200);
    expect(getNodes(world, '?limit=3').status).to.equal(500);
    const remove = faults.add({ times: Infinity, effect: { status: 429, headers: { 'retry-after': '2' } } });
    expect(getNodes(world)).to.deep.include({ status: 429 });
    expect(getNodes(world).headers).to.include({ 'retry-after': '2' });
    remove();
    expect(getNodes(world).status).to.equal(200);
    faults.clear();
    expect(getNodes(world, '?limit=3').status).to.equal(200);
  });

  it('strikes at random, repeatably for a seed, and does not change generated names', () => {
    const run = (probability: number | undefined): [statuses: number[], names: string[]] => {
      const world = createTestWorld(3);
      if (probability !== undefined) {
        world.emulator.faults.add({ probability, times: Infinity, effect: { status: 500 } });
      }
      const statuses = Array.from({ length: 40 }, () => getNodes(world).status);
      return [statuses, world.cluster.addTpuSlice('slice-a')];
    };
    const [statuses, names] = run(0.5);
    expect(run(0.5)).to.deep.equal([statuses, names]);
    expect(new Set(statuses)).to.deep.equal(new Set([200, 500]));
    expect(run(undefined)[1]).to.deep.equal(names);
  });

  it('tells the transport to delay a response', () => {
    const world = createTestWorld();
    world.emulator.faults.add({ effect: 'none', delayMs: 250 });
    expect(getNodes(world).delayMs).to.equal(250);
    expect(getNodes(world).delayMs).to.equal(undefined);
  });
});

function createNamespace({ emulator, cluster }: TestWorld, name: string): HttpResponse {
  const body = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
  return cluster.handle(toRequest(emulator, 'POST', '/api/v1/namespaces', body));
}

function getNodes({ emulator, cluster }: TestWorld, query = ''): HttpResponse {
  return cluster.handle(toRequest(emulator, 'GET', nodesPath + query));
}

function catchError(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    return error;
  }
  return undefined;
}

function outcomeOf(act: () => HttpResponse): string {
  try {
    return String(act().status);
  } catch (error) {
    if (error instanceof ConnectionLost || error instanceof NeverAnswered) return error.name;
    throw error;
  }
}

import { expect } from 'chai';
import type { HttpResponse } from './http.ts';
import { createTestWorld, toRequest } from './test-world.ts';
import type { TestWorld } from './test-world.ts';

const nodesPath = '/api/v1/nodes';
const leases = '/apis/coordination.k8s.io/v1/namespaces/default/leases';

/** What the conformance suite cannot test, because a real server has no handle for it. */
describe('KubernetesApi', () => {
  it('pages through the state at the time of the first page', () => {
    const world = createSlice();
    const first = list(world, `${nodesPath}?limit=10`);
    expect(first.metadata).to.include({ remainingItemCount: 6 });
    const joined = world.cluster.joinNode('slice-a');
    const second = list(world, `${nodesPath}?limit=10&continue=${first.metadata.continue}`);
    expect([...first.names, ...second.names])
      .to.have.length(16)
      .and.not.to.include(joined);
    expect(second.metadata).to.deep.equal({ resourceVersion: first.metadata.resourceVersion });
  });

  it('returns 410 for a token that is too old, and 400 for one that it never returned', () => {
    const world = createSlice();
    const { metadata } = list(world, `${nodesPath}?limit=10`);
    world.cluster.expireContinueTokens();
    const path = `${nodesPath}?limit=10&continue=`;
    expect(ask(world, 'GET', path + metadata.continue)).to.deep.include({ status: 410, reason: 'Expired' });
    expect(ask(world, 'GET', `${path}nonsense`)).to.deep.include({ status: 400, reason: 'BadRequest' });
  });

  it('returns no remaining count with a selector, and no pages from the cache', () => {
    const world = createSlice();
    const selected = list(
      world,
      `${nodesPath}?limit=10&labelSelector=cloud.google.com%2Fgke-nodepool%3Dslice-a`,
    );
    expect(selected.metadata).to.have.property('continue');
    expect(selected.metadata).not.to.have.property('remainingItemCount');
    expect(list(world, `${nodesPath}?limit=10&resourceVersion=0`).names).to.have.length(16);
  });

  it('forbids only what is denied, until it is allowed again', () => {
    const world = createSlice();
    const [name = ''] = world.cluster.nodes().map(({ metadata }) => metadata.name);
    const user = 'failover@p.iam.gserviceaccount.com';
    const allow = world.cluster.deny({ user, verb: 'patch', resource: 'nodes' });
    const headers = { 'content-type': 'application/merge-patch+json' };
    expect(ask(world, 'PATCH', `${nodesPath}/${name}`, {}, headers)).to.deep.include({
      status: 403,
      reason: 'Forbidden',
      message: `nodes "${name}" is forbidden: User "${user}" cannot patch resource "nodes" in API group "" at the cluster scope`,
    });
    expect(ask(world, 'GET', `${nodesPath}/${name}`).status).to.equal(200);
    world.cluster.cordonAs('kubectl', name, true);
    allow();
    expect(ask(world, 'PATCH', `${nodesPath}/${name}`, {}, headers).status).to.equal(200);
  });

  it('gives a subresource its own name in a denial', () => {
    const world = createSlice();
    world.cluster.deny({ resource: 'pods/eviction' });
    const path = '/api/v1/namespaces/default/pods/p/eviction';
    expect(ask(world, 'POST', path, {}).message).to.equal(
      'pods "p" is forbidden: User "failover@p.iam.gserviceaccount.com" cannot create resource "pods/eviction" ' +
        'in API group "" in the namespace "default"',
    );
  });

  it('creates a missing Lease by PUT, but not if the body has a uid', () => {
    const world = createTestWorld();
    const lease = (metadata: object) => ({ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata });
    const uid = '7f1c1b0e-4a51-4d7c-9c63-0d7f1f0a3a55';
    expect(ask(world, 'PUT', `${leases}/x`, lease({ name: 'x', uid }))).to.deep.include({ status: 409 });
    expect(ask(world, 'PUT', `${leases}/x`, lease({ name: 'x' })).status).to.equal(201);
  });

  it('deletes a namespace with everything in it', () => {
    const world = createTestWorld();
    world.cluster.addNamespace('team');
    world.cluster.addTpuSlice('slice-a');
    world.cluster.addJobSet({ namespace: 'team', name: 'train', replicatedJobs: [{ name: 'w' }] });
    world.advance(0);
    expect(world.cluster.pods('team')).to.have.length(1);
    expect(ask(world, 'DELETE', '/api/v1/namespaces/team').status).to.equal(200);
    world.advance(0);
    expect(world.cluster.get('namespaces', undefined, 'team')).to.equal(undefined);
    expect([...world.cluster.jobsets(), ...world.cluster.jobs(), ...world.cluster.pods()]).to.deep.equal([]);
  });

  it('prints the columns of kubectl', () => {
    const world = createSlice();
    const [name = ''] = world.cluster.nodes().map(({ metadata }) => metadata.name);
    world.cluster.cordonAs('kubectl', name, true);
    world.cluster.killNode(name);
    world.advance(200);
    const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json';
    const { body } = handle(world, 'GET', `${nodesPath}/${name}`, undefined, { accept });
    const table = JSON.parse(body) as {
      kind: string;
      columnDefinitions: { name: string }[];
      rows: { cells: string[] }[];
    };
    expect(table.kind).to.equal('Table');
    expect(table.columnDefinitions.slice(0, 5).map((each) => each.name)).to.deep.equal([
      'Name',
      'Status',
      'Roles',
      'Age',
      'Version',
    ]);
    expect(table.rows[0]?.cells.slice(0, 4)).to.deep.equal([
      name,
      'NotReady,SchedulingDisabled',
      '<none>',
      '3m20s',
    ]);
  });
});

describe('watchObjects', () => {
  it('sends the missed changes, then each new one, as far as the selector matches', () => {
    const world = createSlice();
    const [one = '', two = ''] = world.cluster.nodes().map(({ metadata }) => metadata.name);
    const { metadata } = list(world, nodesPath);
    world.cluster.cordonAs('kubectl', one, true);
    const query = `watch=true&resourceVersion=${metadata.resourceVersion}&fieldSelector=spec.unschedulable%3Dtrue`;
    const watch = startWatch(world, `${nodesPath}?${query}`);
    expect(watch.events).to.deep.equal([['ADDED', one]]);
    world.cluster.cordonAs('kubectl', two, true);
    world.cluster.cordonAs('kubectl', one, false);
    world.cluster.change('nodes', undefined, two, (node) => {
      node.metadata.labels = { ...node.metadata.labels, x: 'y' };
    });
    world.cluster.removeNode(two);
    expect(watch.events.slice(1)).to.deep.equal([
      ['ADDED', two],
      ['DELETED', one],
      ['MODIFIED', two],
      ['DELETED', two],
    ]);
    watch.stop();
    world.cluster.cordonAs('kubectl', one, true);
    expect(watch.events).to.have.length(5);
  });

  it('begins with the existing objects if no version is given', () => {
    const world = createSlice();
    expect(startWatch(world, `${nodesPath}?watch=1`).events).to.have.length(16);
  });

  it('sends changes of one namespace only', () => {
    const world = createTestWorld();
    world.cluster.addNamespace('team');
    const watch = startWatch(world, `${leases}?watch=true&resourceVersion=0`);
    for (const namespace of ['default', 'team']) {
      const lease = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: namespace } };
      ask(world, 'POST', leases.replace('default', namespace), lease);
    }
    expect(watch.events).to.deep.equal([['ADDED', 'default']]);
  });

  it('reports a version that is too old, and ends', () => {
    const world = createSlice();
    const watch = startWatch(world, `${nodesPath}?watch=true&resourceVersion=3`);
    expect(watch.events).to.deep.equal([['ERROR', undefined]]);
    expect(watch.hasEnded()).to.equal(true);
  });
});

function createSlice(): TestWorld {
  const world = createTestWorld();
  world.cluster.addTpuSlice('slice-a');
  return world;
}

function handle(
  { emulator, cluster }: TestWorld,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): HttpResponse {
  return cluster.handle(toRequest(emulator, method, path, body, headers));
}

function ask(
  world: TestWorld,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): { status: number; reason?: string; message?: string } {
  const response = handle(world, method, path, body, headers);
  const { reason, message } = JSON.parse(response.body) as { reason?: string; message?: string };
  return {
    status: response.status,
    ...(reason !== undefined && { reason }),
    ...(message !== undefined && { message }),
  };
}

interface Page {
  names: string[];
  metadata: { resourceVersion: string; continue?: string; remainingItemCount?: number };
}

function list(world: TestWorld, path: string): Page {
  const { body } = handle(world, 'GET', path);
  const { items, metadata } = JSON.parse(body) as {
    items: { metadata: { name: string } }[];
    metadata: Page['metadata'];
  };
  return { names: items.map((item) => item.metadata.name), metadata };
}

interface Watch {
  events: [type: string, name: string | undefined][];
  hasEnded(): boolean;
  stop(): void;
}

function startWatch(world: TestWorld, path: string): Watch {
  const events: Watch['events'] = [];
  let hasEnded = false;
  const { stream } = handle(world, 'GET', path);
  const stop = stream?.(
    (line) => {
      const { type, object } = JSON.parse(line) as { type: string; object: { metadata: { name?: string } } };
      events.push([type, object.metadata.name]);
    },
    () => {
      hasEnded = true;
    },
  );
  return { events, hasEnded: () => hasEnded, stop: () => stop?.() };
}

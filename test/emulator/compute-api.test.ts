import { expect } from 'chai';
import type { Node } from './objects.ts';
import { findCondition } from './objects.ts';
import { createTestWorld, toRequest } from './test-world.ts';
import type { TestWorld } from './test-world.ts';
import type { PoolOptions, TpuSliceOptions } from './world.ts';

const rootPath = '/compute/v1/projects/p/zones/us-central1-a';
const givenRequestId = '7f1c1b0e-4a51-5d7c-9c63-0d7f1f0a3a55';

describe('answerCompute', () => {
  it('deletes a machine by its numeric id, and returns the operation', () => {
    const { world, node } = createSlice();
    const id = instanceId(node);
    const { status, body } = remove(world, id, givenRequestId);
    expect(status).to.equal(200);
    expect(body).to.include({
      kind: 'compute#operation',
      operationType: 'delete',
      status: 'RUNNING',
      targetId: id,
      targetLink: `https://www.googleapis.com/compute/v1/projects/p/zones/us-central1-a/instances/${node.metadata.name}`,
      clientOperationId: givenRequestId,
    });
    const operation = () =>
      ask(world, 'GET', `${rootPath}/operations/${String(body['name'])}`).body['status'];
    world.advance(29);
    expect(operation()).to.equal('RUNNING');
    world.advance(1);
    expect(operation()).to.equal('DONE');
    expect(world.emulator.fleet.deletions.map(({ instance }) => instance.id)).to.deep.equal([id]);
  });

  it('deletes by name, whichever machine has the name now', () => {
    const { world, node } = createSlice();
    const id = world.cluster.replaceInstance(node.metadata.name);
    expect(remove(world, node.metadata.name).body['targetId']).to.equal(id);
  });

  it('returns 404 for the old id of a replaced machine', () => {
    const { world, node } = createSlice();
    world.cluster.replaceInstance(node.metadata.name);
    const { status, body } = remove(world, instanceId(node));
    expect(status).to.equal(404);
    expect(reasonOf(body)).to.equal('notFound');
    expect(world.emulator.fleet.deletions).to.deep.equal([]);
  });

  it('returns the same operation for the same request id for an hour, also when the replacement runs', () => {
    const { world, node } = createSlice();
    const first = remove(world, node.metadata.name, givenRequestId).body['name'];
    expect(remove(world, node.metadata.name, givenRequestId).body['name']).to.equal(first);
    world.advance(1800);
    expect(remove(world, node.metadata.name, givenRequestId).body).to.include({
      name: first,
      status: 'DONE',
    });
    world.advance(1800);
    expect(remove(world, node.metadata.name, givenRequestId).body['name']).not.to.equal(first);
  });

  it('refuses a machine that is stopping, and returns 404 for one that is gone', () => {
    const { world, node } = createSlice();
    const id = instanceId(node);
    remove(world, id);
    const stopping = remove(world, id);
    expect(stopping.status).to.equal(400);
    expect(reasonOf(stopping.body)).to.equal('resourceNotReady');
    expect(JSON.stringify(stopping.body)).to.contain('is not ready');
    world.advance(30);
    expect(remove(world, id).status).to.equal(404);
    expect(remove(world, node.metadata.name).status).to.equal(404);
    world.advance(90);
    expect(remove(world, id).status).to.equal(404);
    expect(remove(world, node.metadata.name).status).to.equal(200);
  });

  for (const requestId of ['00000000-0000-0000-0000-000000000000', 'retry-1']) {
    it(`refuses the request id ${requestId}`, () => {
      const { world, node } = createSlice();
      const { status, body } = remove(world, node.metadata.name, requestId);
      expect(status).to.equal(400);
      expect(reasonOf(body)).to.equal('invalid');
      expect(world.emulator.fleet.deletions).to.deep.equal([]);
    });
  }

  it('returns 404 for a machine in another zone or project', () => {
    const { world, node } = createSlice();
    for (const root of [rootPath.replace('1-a', '1-b'), rootPath.replace('/p/', '/other/')]) {
      expect(ask(world, 'DELETE', `${root}/instances/${instanceId(node)}`).status).to.equal(404);
    }
  });

  it('requires a token with the scope cloud-platform', () => {
    const { world, node } = createSlice();
    const path = `${rootPath}/instances/${node.metadata.name}`;
    const { token } = world.emulator.tokens.issueToken(['https://www.googleapis.com/auth/userinfo.email']);
    for (const authorization of ['', 'Bearer unknown', `Bearer ${token}`]) {
      expect(ask(world, 'GET', path, { authorization }).status).to.equal(401);
    }
  });

  it('lists machines by zone, filtered by name, and all of them aggregated', () => {
    const { world, node } = createSlice();
    world.cluster.addPool('cpu', { zone: 'us-central1-b' });
    const list = ask(world, 'GET', `${rootPath}/instances`).body['items'] as unknown[];
    expect(list).to.have.length(16);
    const filter = new URLSearchParams({ filter: `name = ${node.metadata.name}` }).toString();
    const [only, ...others] = ask(world, 'GET', `${rootPath}/instances?${filter}`).body['items'] as {
      id: string;
    }[];
    expect(only?.id).to.equal(instanceId(node));
    expect(others).to.deep.equal([]);
    const zones = ask(world, 'GET', '/compute/v1/projects/p/aggregated/instances').body['items'] as object;
    expect(Object.keys(zones)).to.deep.equal(['zones/us-central1-a', 'zones/us-central1-b']);
  });

  it('returns only the requested fields', () => {
    const { world, node } = createSlice();
    const { body } = ask(
      world,
      'GET',
      `${rootPath}/instances/${node.metadata.name}?fields=id,scheduling/preemptible`,
    );
    expect(body).to.deep.equal({ id: instanceId(node), scheduling: { preemptible: false } });
  });
});

describe('Fleet', () => {
  it('re-creates all machines of a slice with the same names, other ids, and new Nodes without cordon', () => {
    const { world } = createSlice();
    const before = byName(world);
    for (const name of before.keys()) world.cluster.cordonAs('autometric-failover', name, true);
    const [name = ''] = before.keys();
    remove(world, name);
    expect(
      findCondition(world.cluster.get('nodes', undefined, name)?.status.conditions, 'Ready')?.status,
    ).to.equal('Unknown');
    expect(world.cluster.describePools().map(({ status }) => status)).to.deep.equal(['RECONCILING']);
    world.advance(119);
    expect(world.cluster.nodes('slice-a').every(({ spec }) => spec.unschedulable)).to.equal(true);
    world.advance(1);
    const after = byName(world);
    expect([...after.keys()]).to.deep.equal([...before.keys()]);
    for (const [each, node] of after) {
      expect(node.metadata.uid).not.to.equal(before.get(each)?.metadata.uid);
      expect(instanceId(node)).not.to.equal(instanceId(before.get(each)));
      expect(node.spec).not.to.have.property('unschedulable');
      expect(findCondition(node.status.conditions, 'Ready')?.status).to.equal('True');
      expect(node.metadata.creationTimestamp).to.equal('2026-01-01T00:02:00Z');
    }
    expect(world.cluster.describePools().map(({ status }) => status)).to.deep.equal(['RUNNING']);
  });

  it('keeps the Node objects and cordons, with the new ids, if Nodes survive', () => {
    const { world } = createSlice({ nodeObject: 'survives' });
    const before = byName(world);
    const [name = ''] = before.keys();
    world.cluster.cordonAs('kubectl', name, true);
    remove(world, name);
    world.advance(120);
    for (const [each, node] of byName(world)) {
      expect(node.metadata.uid).to.equal(before.get(each)?.metadata.uid);
      expect(instanceId(node)).not.to.equal(instanceId(before.get(each)));
      expect(findCondition(node.status.conditions, 'Ready')?.status).to.equal('True');
    }
    expect(world.cluster.get('nodes', undefined, name)?.spec.unschedulable).to.equal(true);
  });

  it('re-creates only the one machine if the machines are independent', () => {
    const { world } = createSlice({ topology: '2x2', nodes: 4 });
    const before = byName(world);
    const [name = ''] = before.keys();
    remove(world, name);
    world.advance(120);
    const changed = [...byName(world)].filter(
      ([each, node]) => instanceId(node) !== instanceId(before.get(each)),
    );
    expect(changed.map(([each]) => each)).to.deep.equal([name]);
  });

  it('re-creates nothing if repair is off', () => {
    const { world, node } = createSlice({ isRepairDisabled: true });
    remove(world, node.metadata.name);
    world.advance(86_400);
    expect(world.emulator.fleet.list()).to.deep.equal([]);
    expect(remove(world, node.metadata.name).status).to.equal(404);
  });

  it('ends the pods of a machine that is re-created, and the JobSet restarts', () => {
    const { world } = createSlice();
    world.cluster.addJobSet({
      name: 'train',
      replicatedJobs: [{ name: 'w', parallelism: 16, backoffLimit: 0 }],
    });
    world.advance(0);
    const before = new Set(world.cluster.pods().map(({ metadata }) => metadata.uid));
    remove(world, world.cluster.nodes()[3]?.metadata.name ?? '');
    world.advance(60);
    expect(world.cluster.pods().every(({ metadata }) => before.has(metadata.uid))).to.equal(true);
    world.advance(60);
    const pods = world.cluster.pods();
    expect(pods.filter(({ status }) => status.phase === 'Running')).to.have.length(16);
    expect(pods.some(({ metadata }) => before.has(metadata.uid))).to.equal(false);
    expect(world.cluster.jobsets()[0]?.status.restarts).to.equal(1);
  });
});

function createSlice(options: TpuSliceOptions & PoolOptions = {}): { world: TestWorld; node: Node } {
  const world = createTestWorld();
  world.cluster.addTpuSlice('slice-a', options);
  const [node] = world.cluster.nodes('slice-a');
  if (!node) throw new Error('the slice is empty');
  return { world, node };
}

function byName({ cluster }: TestWorld): Map<string, Node> {
  return new Map(cluster.nodes('slice-a').map((node) => [node.metadata.name, node]));
}

function instanceId(node: Node | undefined): string {
  return node?.metadata.annotations?.['container.googleapis.com/instance_id'] ?? '';
}

function remove(
  world: TestWorld,
  nameOrId: string,
  requestId?: string,
): { status: number; body: Record<string, unknown> } {
  return ask(
    world,
    'DELETE',
    `${rootPath}/instances/${nameOrId}${requestId ? `?requestId=${requestId}` : ''}`,
  );
}

function ask(
  { emulator }: TestWorld,
  method: string,
  path: string,
  headers: Record<string, string> = {},
): { status: number; body: Record<string, unknown> } {
  const response = emulator.handleCompute(toRequest(emulator, method, path, undefined, headers));
  return { status: response.status, body: JSON.parse(response.body) as Record<string, unknown> };
}

function reasonOf(body: Record<string, unknown>): string | undefined {
  return (body['error'] as { errors?: { reason: string }[] }).errors?.[0]?.reason;
}

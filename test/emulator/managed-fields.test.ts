import { expect } from 'chai';
import { toPaths } from './field-set.ts';
import type { FieldSet } from './field-set.ts';
import { createTestWorld, toRequest } from './test-world.ts';
import type { TestWorld } from './test-world.ts';
import type { Node } from './objects.ts';

const cordon = { spec: { unschedulable: true } };
const ours = { metadata: { annotations: { 'autometric-failover/action': 'a1' } }, ...cordon };

describe('applyConfiguration', () => {
  it('owns the fields that it applies, and releases them', () => {
    const world = createNode();
    expect(apply(world, ours).status).to.equal(200);
    expect(ownersOf(world)).to.deep.include({
      'autometric-failover Apply': [
        '.metadata.annotations.autometric-failover/action',
        '.spec.unschedulable',
      ],
    });
    expect(apply(world, {}).status).to.equal(200);
    expect(read(world).spec).not.to.have.property('unschedulable');
    expect(read(world).metadata.annotations).not.to.have.property('autometric-failover/action');
    expect(ownersOf(world)).not.to.have.property('autometric-failover Apply');
  });

  it('shares the ownership of a field that a person had set, and leaves it to them', () => {
    const world = createNode();
    world.cluster.cordonAs('kubectl', world.name, true);
    expect(apply(world, ours).status).to.equal(200);
    expect(ownersOf(world)).to.include.keys('kubectl Update', 'autometric-failover Apply');
    apply(world, {});
    expect(read(world).spec.unschedulable).to.equal(true);
    expect(ownersOf(world)['kubectl Update']).to.deep.equal(['.spec.unschedulable']);
  });

  it('loses a field that a person changes, and does not get it back when they change it back', () => {
    const world = createNode();
    apply(world, ours);
    world.cluster.cordonAs('kubectl', world.name, false);
    expect(read(world).spec).not.to.have.property('unschedulable');
    expect(ownersOf(world)['autometric-failover Apply']).to.deep.equal([
      '.metadata.annotations.autometric-failover/action',
    ]);
    world.cluster.cordonAs('kubectl', world.name, true);
    apply(world, {});
    expect(read(world).spec.unschedulable).to.equal(true);
  });

  it('writes nothing if nothing changes', () => {
    const world = createNode();
    apply(world, ours);
    const { resourceVersion } = read(world).metadata;
    world.advance(60);
    const again = read(world).metadata.resourceVersion;
    apply(world, ours);
    expect(read(world).metadata.resourceVersion).to.equal(again);
    expect(again).not.to.equal(resourceVersion); // The taint, which nobody applied.
  });

  it('takes no field of another manager without force, and names manager and field', () => {
    const world = createNode();
    expect(apply(world, { spec: { unschedulable: false } }, 'other').status).to.equal(200);
    const { status, body } = apply(world, cordon, 'autometric-failover', false);
    expect(status).to.equal(409);
    expect(body).to.deep.include({
      reason: 'Conflict',
      message: 'Apply failed with 1 conflict: conflict with "other": .spec.unschedulable',
      details: {
        causes: [
          { reason: 'FieldManagerConflict', message: 'conflict with "other"', field: '.spec.unschedulable' },
        ],
      },
    });
    expect(read(world).spec).not.to.have.property('unschedulable');
    expect(apply(world, cordon).status).to.equal(200);
    expect(ownersOf(world)).not.to.have.property('other Apply');
  });

  it('names each field that is in conflict, and when an update took it', () => {
    const world = createNode();
    world.cluster.ask('PATCH', world.path, { metadata: { labels: { a: '1', b: '1' } } }, merge);
    const { status, body } = apply(world, { metadata: { labels: { a: '2', b: '2' } } }, 'm', false);
    expect(status).to.equal(409);
    expect(body['message']).to.equal(
      'Apply failed with 2 conflicts: conflicts with "kubectl" using v1:\n' +
        '- .metadata.labels.a\n- .metadata.labels.b',
    );
  });

  it('merges lists by their keys, and removes an item that nobody else owns', () => {
    const world = createNode();
    const condition = { type: 'Ours', status: 'True', reason: 'Applied' };
    const path = `${world.path}/status`;
    expect(apply(world, { status: { conditions: [condition] } }, 'm', true, path).status).to.equal(200);
    expect(read(world).status.conditions.map(({ type }) => type)).to.include.members(['Ready', 'Ours']);
    expect(apply(world, {}, 'm', true, path).status).to.equal(200);
    expect(read(world).status.conditions.map(({ type }) => type))
      .to.include('Ready')
      .and.not.to.include('Ours');
  });

  it('requires a field manager and an object', () => {
    const world = createNode();
    expect(apply(world, cordon, '').status).to.equal(422);
    const type = { 'content-type': 'application/apply-patch+yaml' };
    expect(world.cluster.ask('PATCH', `${world.path}?fieldManager=m`, cordon, type).status).to.equal(400);
  });

  it('accepts YAML', () => {
    const world = createNode();
    const request = toRequest(world.emulator, 'PATCH', `${world.path}?fieldManager=m`, {}, applyHeaders);
    const body = 'apiVersion: v1\nkind: Node\nspec:\n  unschedulable: true\n';
    expect(world.cluster.handle({ ...request, body }).status).to.equal(200);
    expect(read(world).spec.unschedulable).to.equal(true);
  });
});

const merge = { 'content-type': 'application/merge-patch+json' };
const applyHeaders = { 'content-type': 'application/apply-patch+yaml' };

interface NodeWorld extends TestWorld {
  name: string;
  path: string;
}

function createNode(): NodeWorld {
  const world = createTestWorld();
  const [name = ''] = world.cluster.addTpuSlice('slice-a');
  return { ...world, name, path: `/api/v1/nodes/${name}` };
}

function apply(
  world: NodeWorld,
  configuration: object,
  manager = 'autometric-failover',
  force = true,
  path = world.path,
): { status: number; body: Record<string, unknown> } {
  const { metadata, ...rest } = configuration as { metadata?: object };
  const body = { apiVersion: 'v1', kind: 'Node', metadata: { name: world.name, ...metadata }, ...rest };
  const query = new URLSearchParams({ fieldManager: manager, ...(force && { force: 'true' }) });
  const answer = world.cluster.ask('PATCH', `${path}?${query.toString()}`, body, applyHeaders);
  return { status: answer.status, body: answer.body as Record<string, unknown> };
}

function read({ cluster, name }: NodeWorld): Node {
  const node = cluster.get('nodes', undefined, name);
  if (!node) throw new Error(`no node ${name}`);
  return node;
}

/** What each manager owns, but the kubelet. */
function ownersOf(world: NodeWorld): Record<string, string[]> {
  const entries = read(world).metadata.managedFields ?? [];
  return Object.fromEntries(
    entries
      .filter(({ manager }) => manager !== 'kubelet')
      .map(({ manager, operation, fieldsV1 }) => [`${manager} ${operation}`, toPaths(fieldsV1 as FieldSet)]),
  );
}

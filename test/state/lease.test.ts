import { expect } from 'chai';
import { FailoverError } from '../../src/errors.ts';
import { metadataListOnly } from '../../src/gke/direct-core.ts';
import {
  countLeases,
  createLease,
  deleteLease,
  limitConflicts,
  listLeaseNames,
  listLeases,
  readLease,
  replaceLease,
  updateAnnotations,
} from '../../src/state/lease.ts';
import { failoverNamespace } from '../../src/names.ts';
import { leasesPath } from '../../src/state/lease-format.ts';
import type { LeaseState } from '../../src/state/lease-format.ts';
import { countWrites } from '../fixtures/count-writes.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusal, refusalOf } from '../fixtures/refusal-of.ts';

const time = Date.parse('2026-11-23T03:00:00.123Z');
const draft = { name: 'pool-x', holder: 'a/1', acquiredAt: time, renewedAt: time, durationSeconds: 60 };

function createWorld(): InMemoryWorld {
  return createInMemoryWorld({ slices: [], jobSet: null });
}

async function mustCreate({ kubernetes }: InMemoryWorld, annotations = {}): Promise<LeaseState> {
  const lease = await createLease(kubernetes, { ...draft, annotations });
  if (!lease) throw new Error('the Lease exists already');
  return lease;
}

/** A person edits the Lease. */
function annotate({ cluster }: InMemoryWorld, name: string, key: string, value: string): void {
  const path = `/apis/coordination.k8s.io/v1/namespaces/${failoverNamespace}/leases/${name}`;
  const patch = { metadata: { annotations: { [key]: value } } };
  const { status } = cluster.ask('PATCH', path, patch, { 'content-type': 'application/merge-patch+json' });
  expect(status).to.equal(200);
}

describe('createLease', () => {
  it('writes times as the API server wants them, with six digits, and reads them back as milliseconds', async () => {
    const world = createWorld();
    const created = await mustCreate(world);
    expect(created).to.include({ holder: 'a/1', acquiredAt: time, renewedAt: time, durationSeconds: 60 });
    const stored = world.cluster.get('leases', failoverNamespace, 'pool-x');
    expect(stored?.spec.renewTime).to.match(/^2026-11-23T03:00:00\.123\d{3}Z$/);
    expect(await readLease(world.kubernetes, 'pool-x')).to.deep.equal(created);
  });

  it('reports a Lease that exists already, and leaves it alone', async () => {
    const world = createWorld();
    const first = await mustCreate(world);
    expect(await createLease(world.kubernetes, { ...draft, holder: 'b/2' })).to.equal(undefined);
    expect(await readLease(world.kubernetes, 'pool-x')).to.deep.equal(first);
  });

  it('says what to apply where the namespace is missing', async () => {
    const world = createWorld();
    world.cluster.remove('namespaces', undefined, failoverNamespace);
    const error: unknown = await createLease(world.kubernetes, draft).catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(FailoverError);
    expect(error).to.include({ code: 'upstream_failed', status: 502 });
    expect((error as Error).message).to.match(/its namespace is missing: deploy\/rbac\.sh .* kubectl apply/);
  });
});

describe('readLease', () => {
  it('finds nothing when there is no Lease', async () => {
    expect(await readLease(createWorld().kubernetes, 'pool-x')).to.equal(undefined);
  });

  it('fails where the Lease cannot be read, because an unknown lock or pause is not a free one', async () => {
    for (const status of [403, 500]) {
      const world = createWorld();
      await mustCreate(world);
      world.emulator.faults.add({ method: 'GET', path: /\/pool-x$/, times: Infinity, effect: { status } });
      const refusal = await refusalOf(readLease(world.kubernetes, 'pool-x'));
      expect(refusal, String(status)).to.have.property('code');
    }
  });

  // F-18: a cached read said that the lock was free.
  it('asks for the stored Lease, never for a cached one', async () => {
    const world = createWorld();
    await readLease(world.kubernetes, 'pool-x');
    await listLeases(world.kubernetes, 'a=b');
    for (const { query } of world.emulator.requests) expect(query).not.to.have.property('resourceVersion');
  });

  it('takes a Lease without spec and annotations, as kubectl may have made it', async () => {
    const world = createWorld();
    expect(await readLease(world.kubernetes, 'cluster')).to.deep.include({
      holder: undefined,
      renewedAt: undefined,
      durationSeconds: undefined,
      annotations: {},
    });
  });
});

describe('replaceLease', () => {
  it('replaces a Lease that is unchanged since it was read', async () => {
    const world = createWorld();
    const lease = await mustCreate(world, { kept: 'yes' });
    const written = await replaceLease(world.kubernetes, { ...lease, holder: 'b/2' });
    expect(written).to.deep.include({ holder: 'b/2', uid: lease.uid, annotations: { kept: 'yes' } });
    expect(written?.resourceVersion).not.to.equal(lease.resourceVersion);
  });

  it('does not overwrite what somebody else wrote meanwhile', async () => {
    const world = createWorld();
    const lease = await mustCreate(world);
    annotate(world, 'pool-x', 'a', 'person');
    expect(await replaceLease(world.kubernetes, { ...lease, holder: 'b/2' })).to.equal(undefined);
    expect(await readLease(world.kubernetes, 'pool-x')).to.deep.include({
      holder: 'a/1',
      annotations: { a: 'person' },
    });
  });

  it('does not re-create a Lease that was deleted meanwhile', async () => {
    const world = createWorld();
    const lease = await mustCreate(world);
    world.cluster.remove('leases', failoverNamespace, 'pool-x');
    expect(await replaceLease(world.kubernetes, lease)).to.equal(undefined);
    expect(world.cluster.get('leases', failoverNamespace, 'pool-x')).to.equal(undefined);
  });

  it('clears the holder when it is undefined', async () => {
    const world = createWorld();
    const lease = await mustCreate(world);
    await replaceLease(world.kubernetes, { ...lease, holder: undefined, renewedAt: undefined });
    expect(world.cluster.get('leases', failoverNamespace, 'pool-x')?.spec).to.deep.equal({
      acquireTime: '2026-11-23T03:00:00.123000Z',
      leaseDurationSeconds: 60,
    });
  });
});

describe('deleteLease', () => {
  it('deletes a Lease that is unchanged since it was read', async () => {
    const world = createWorld();
    expect(await deleteLease(world.kubernetes, await mustCreate(world))).to.equal(true);
    expect(world.cluster.get('leases', failoverNamespace, 'pool-x')).to.equal(undefined);
  });

  it('leaves a Lease that was changed, or re-created under the same name, meanwhile', async () => {
    const world = createWorld();
    const lease = await mustCreate(world);
    annotate(world, 'pool-x', 'a', 'person');
    expect(await deleteLease(world.kubernetes, lease)).to.equal(false);
    world.cluster.remove('leases', failoverNamespace, 'pool-x');
    expect(await deleteLease(world.kubernetes, lease)).to.equal(false);
    await mustCreate(world);
    expect(await deleteLease(world.kubernetes, lease)).to.equal(false);
    expect(world.cluster.get('leases', failoverNamespace, 'pool-x')).not.to.equal(undefined);
  });
});

describe('listLeases', () => {
  it('lists the Leases with the label', async () => {
    const world = createWorld();
    for (const [name, kind] of [
      ['x', 'action'],
      ['y', 'pool'],
      ['z', 'action'],
    ] as const) {
      await createLease(world.kubernetes, { name, labels: { kind } });
    }
    const found = await listLeases(world.kubernetes, 'kind=action');
    expect(found.map(({ name }) => name)).to.deep.equal(['x', 'z']);
  });
});

describe('countLeases and listLeaseNames', () => {
  it('look at the label and the annotation, and read no more than the metadata', async () => {
    const world = createWorld();
    for (const [name, kind, annotations] of [
      ['w', 'action', { id: '' }],
      ['x', 'action', { id: '1' }],
      ['y', 'action', { other: '1' }],
      ['z', 'pool', { id: '1' }],
    ] as const) {
      await createLease(world.kubernetes, { name, labels: { kind }, annotations });
    }
    expect(await countLeases(world.kubernetes, 'kind=action', 'id')).to.equal(2);
    expect(await listLeaseNames(world.kubernetes, 'kind=action', 3)).to.deep.equal(new Set(['w', 'x', 'y']));
    const lists = world.emulator.requests.filter(({ method }) => method === 'GET');
    expect(lists.map(({ headers }) => headers['accept'])).to.deep.equal([metadataListOnly, metadataListOnly]);
  });
});

describe('limitConflicts', () => {
  it('ends a loop with the 200th conflict, with an error that nobody tries again', () => {
    for (const [name, call] of [
      ['pool-x', `PUT ${leasesPath}/pool-x`],
      [undefined, `POST ${leasesPath}`],
    ] as const) {
      const countConflict = limitConflicts(name);
      for (let conflicts = 1; conflicts < 200; conflicts++) countConflict();
      const refused = refusal(countConflict);
      expect(refused).to.include({ code: 'upstream_failed', upstreamStatus: 409, isRetryable: false });
      expect(refused.message).to.equal(
        `the Kubernetes API answered 409 Conflict 200 times (${call}): is something else writing or refusing this Lease?`,
      );
    }
  });
});

describe('updateAnnotations', () => {
  it('gives up where something refuses each write', async () => {
    const world = createWorld();
    await mustCreate(world);
    world.emulator.faults.add({ method: 'PUT', times: 300, effect: { status: 409 } });
    const work = updateAnnotations(world.kubernetes, 'pool-x', (annotations) => ({ ...annotations, a: '1' }));
    expect((await refusalOf(work)).message).to.include('Conflict 200 times');
  });

  it('creates the Lease when there is none', async () => {
    const world = createWorld();
    const lease = await updateAnnotations(world.kubernetes, 'pool-x', (annotations) => ({
      ...annotations,
      a: '1',
    }));
    expect(lease?.annotations).to.deep.equal({ a: '1' });
  });

  it('reads again when somebody else wrote meanwhile, and loses neither change', async () => {
    const world = createWorld();
    await mustCreate(world, { a: '1' });
    let isFirst = true;
    const kubernetes = world.connect({
      onRequest({ method }) {
        if (method === 'PUT' && isFirst) annotate(world, 'pool-x', 'person', 'was here');
        if (method === 'PUT') isFirst = false;
      },
    });
    const seen: Record<string, string>[] = [];
    const lease = await updateAnnotations(kubernetes, 'pool-x', (annotations) => {
      seen.push(annotations);
      return { ...annotations, b: '2' };
    });
    expect(lease?.annotations).to.deep.equal({ a: '1', person: 'was here', b: '2' });
    expect(seen).to.deep.equal([{ a: '1' }, { a: '1', person: 'was here' }]);
  });

  it('reads again when somebody else created the Lease first', async () => {
    const world = createWorld();
    const kubernetes = world.connect({
      async onRequest({ method }) {
        if (method === 'POST') await mustCreate(world, { theirs: '1' });
      },
    });
    const lease = await updateAnnotations(kubernetes, 'pool-x', (annotations) => ({
      ...annotations,
      ours: '2',
    }));
    expect(lease?.annotations).to.deep.equal({ theirs: '1', ours: '2' });
  });

  it('writes nothing when there is nothing to change', async () => {
    const world = createWorld();
    const lease = await mustCreate(world, { a: '1' });
    const before = world.emulator.requests.length;
    expect(await updateAnnotations(world.kubernetes, 'pool-x', () => undefined)).to.deep.equal(lease);
    expect(await updateAnnotations(world.kubernetes, 'nothing', () => undefined)).to.equal(undefined);
    expect(countWrites(world.emulator.writes())).to.deep.equal({ 'POST leases': 1 });
    expect(world.emulator.requests.length).to.equal(before + 2);
  });

  it('skips the read when the caller has the Lease, and reads once if that is out of date', async () => {
    const world = createWorld();
    const known = await mustCreate(world, { a: '1' });
    const change = (annotations: Record<string, string>) => ({
      ...annotations,
      n: `${annotations['n'] ?? ''}+`,
    });
    const before = world.emulator.requests.length;
    await updateAnnotations(world.kubernetes, 'pool-x', change, known);
    expect(world.emulator.requests.length).to.equal(before + 1);
    const again = await updateAnnotations(world.kubernetes, 'pool-x', change, known);
    expect(again?.annotations).to.deep.equal({ a: '1', n: '++' });
    expect(world.emulator.requests.length).to.equal(before + 4);
  });

  it('passes on an error that the change throws, without a write', async () => {
    const world = createWorld();
    await mustCreate(world);
    const refusal = new FailoverError('paused', 'paused');
    const thrown: unknown = await updateAnnotations(world.kubernetes, 'pool-x', () => {
      throw refusal;
    }).catch((error: unknown) => error);
    expect(thrown).to.equal(refusal);
    expect(countWrites(world.emulator.writes())).to.deep.equal({ 'POST leases': 1 });
  });
});

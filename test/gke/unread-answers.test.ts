import { expect } from 'chai';
import { metadataOnly, withHeaders } from '../../src/gke/direct-core.ts';
import { UpstreamError } from '../../src/errors.ts';
import { listPool, listSchedulable } from '../../src/gke/nodes.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';

const asApply = withHeaders({ 'Content-Type': 'application/apply-patch+yaml', Accept: metadataOnly });

describe('the answer to a patch, which nobody reads', () => {
  for (const [what, body] of [
    ['a page of HTML', '<html>{"kind": "No'],
    ['JSON of somebody else', '{"error": "unknown host"}'],
    ['a Node that is cut off', '{"kind": "PartialObjectMetadata", "metadata": {"na'],
    ['empty', ''],
  ] as const) {
    // F-350: looked at, not parsed.
    it(`is the upstream’s failure where it is ${what}`, async () => {
      const { kubernetes, emulator, cluster } = createInMemoryWorld();
      const { name = '', uid = '' } = cluster.nodes('slice-a')[0]?.metadata ?? {};
      emulator.faults.add({ method: 'PATCH', times: Infinity, effect: { status: 200, body } });
      const patch = kubernetes.core.patchNode(
        { name, body: { apiVersion: 'v1', kind: 'Node', metadata: { name, uid } }, fieldManager: 'm' },
        asApply,
      );
      const refusal = await refusalOf(patch);
      expect(refusal).to.be.instanceOf(UpstreamError).and.to.have.property('code', 'upstream_failed');
      expect(emulator.requests.filter(({ method }) => method === 'PATCH').length).to.be.greaterThan(1);
    });
  }
});

describe('the list of a pool', () => {
  // F-351: as the API server sends an empty list of metadata.
  it('has no node where the API server sends null for its items', async () => {
    const { kubernetes, emulator } = createInMemoryWorld();
    const body = JSON.stringify({ kind: 'PartialObjectMetadataList', metadata: {}, items: null });
    emulator.faults.add({ method: 'GET', path: /nodes/, times: 1, effect: { status: 200, body } });
    expect(await listPool(kubernetes, 'slice-a')).to.deep.equal([]);
  });

  it('is the upstream’s failure where it is no list', async () => {
    const { kubernetes, emulator } = createInMemoryWorld();
    const body = JSON.stringify({ kind: 'Status', items: null });
    emulator.faults.add({ method: 'GET', path: /nodes/, times: Infinity, effect: { status: 200, body } });
    const refusal = await refusalOf(listPool(kubernetes, 'slice-a'));
    expect(refusal).to.be.instanceOf(UpstreamError);
  });

  it('says the same of a page that is long enough to be parsed in parts', async () => {
    const { kubernetes, cluster, emulator } = createInMemoryWorld();
    cluster.addPool('large', { nodes: 700, paddingBytes: 2000 });
    emulator.settle();
    const listed = await listSchedulable(kubernetes, 'large');
    expect(
      listed.map(({ name, uid, createdAt, nodePool }) => ({ name, uid, createdAt, nodePool })),
    ).to.deep.equal(
      cluster
        .nodes('large')
        .map(({ metadata: { name, uid, creationTimestamp } }) => ({
          name,
          uid,
          createdAt: Date.parse(creationTimestamp ?? ''),
          nodePool: 'large',
        }))
        .sort((a, b) => (a.name < b.name ? -1 : 1)),
    );
  });
});

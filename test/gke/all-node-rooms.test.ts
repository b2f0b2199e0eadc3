import { expect } from 'chai';
import { UpstreamError } from '../../src/errors.ts';
import { listAllNodeRooms, listNodeRooms } from '../../src/gke/node-room.ts';
import type { NodeRoom } from '../../src/gke/node-room.ts';
import { nodePoolLabel } from '../../src/gke/nodes.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';

describe('the list of all nodes', () => {
  it('says what the converted one says, over several pages', async () => {
    const { cluster, kubernetes, emulator } = createInMemoryWorld();
    cluster.addPool('others', { nodes: 600 });
    cluster.killNode(cluster.nodes('slice-a')[0]?.metadata.name ?? '');
    emulator.settle();
    const converted = await listNodeRooms(kubernetes, nodePoolLabel, (node) => node);
    const before = emulator.requests.length;
    const asSent = await listAllNodeRooms(kubernetes, nodePoolLabel, (node) => node);
    expect(asSent).to.have.length(608);
    expect(asSent.map(toPlain)).to.deep.equal(converted.map(toPlain));
    expect(asSent.filter(({ isReady }) => !isReady)).to.have.length(1);
    expect(emulator.requests.length - before).to.equal(3);
  });

  it('is the upstream’s failure where an answer is cut off', async () => {
    const { kubernetes, emulator } = createInMemoryWorld();
    const body = `{"kind": "NodeList", "items": [${'x'.repeat(300_000)}]}`;
    emulator.faults.add({ method: 'GET', path: /nodes/, times: Infinity, effect: { status: 200, body } });
    const refusal = await refusalOf(listAllNodeRooms(kubernetes, nodePoolLabel, (node) => node));
    expect(refusal).to.be.instanceOf(UpstreamError).and.to.have.property('code', 'upstream_failed');
  });
});

/** Without the classes of the client, and without the times of taints, which nothing reads. */
function toPlain({ taints, ...node }: NodeRoom): object {
  return { ...node, taints: taints.map(({ key, value, effect }) => [key, value, effect]) };
}

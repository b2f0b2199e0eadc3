import { expect } from 'chai';
import type { V1Node, V1Pod } from '@kubernetes/client-node';
import { UpstreamError } from '../../src/errors.ts';
import { findPod, readPods } from '../../src/gke/jobset.ts';
import { listNodes, listPods } from '../../src/gke/list-reduced.ts';
import { listNodeRooms } from '../../src/gke/node-room.ts';
import { nodePoolLabel, toNodeHealth } from '../../src/gke/nodes.ts';
import { listRunPods } from '../../src/gke/run-pods.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';

/** As it was sent: without the classes of the generated client, and times as text. */
function toPlain(object: object): unknown {
  return JSON.parse(JSON.stringify(object));
}

describe('a list of nodes or pods that bypasses the generated client', () => {
  it('has the nodes that the generated client would have, over several pages', async () => {
    const { cluster, kubernetes, emulator } = createInMemoryWorld();
    cluster.addPool('others', { nodes: 600 });
    cluster.killNode(cluster.nodes('slice-a')[0]?.metadata.name ?? '');
    emulator.settle();
    const { items } = await kubernetes.core.listNode({ labelSelector: nodePoolLabel });
    const before = emulator.requests.length;
    const asSent = await listNodes(kubernetes, { labelSelector: nodePoolLabel }, (node) => node);
    expect(emulator.requests.length - before).to.equal(2);
    expect(asSent).to.have.length(608);
    expect(asSent.map((node) => toHealth(node))).to.deep.equal(items.map((node) => toHealth(node)));
    const rooms = await listNodeRooms(kubernetes, nodePoolLabel, (node) => node);
    expect(rooms.map(({ name }) => name)).to.deep.equal(items.map(({ metadata }) => metadata?.name));
    expect(rooms.filter(({ isReady }) => !isReady)).to.have.length(1);
  });

  it('has the pods that the generated client would have, over several pages', async () => {
    const { cluster, kubernetes, emulator } = createInMemoryWorld();
    cluster.addTpuSlice('slice-large', { nodes: 640, topology: '16x40x4' });
    cluster.addJobSet({
      name: 'large',
      exclusiveTopology: nodePoolLabel,
      replicatedJobs: [{ name: 'workers', parallelism: 640, backoffLimit: 0 }],
    });
    emulator.settle();
    const { items } = await kubernetes.core.listNamespacedPod({ namespace: 'default' });
    const before = emulator.requests.length;
    const asSent = await listPods(kubernetes, { namespace: 'default' }, (pod: V1Pod) => pod);
    expect(emulator.requests.length - before).to.equal(2);
    expect(asSent).to.have.length(items.length);
    expect(asSent.map(({ spec }) => toPlain(spec ?? {}))).to.deep.equal(
      items.map(({ spec }) => toPlain(spec ?? {})),
    );
    const placed = await readPods(kubernetes, 'default', 'large');
    expect(placed).to.have.length(640);
    expect(placed.every(({ isLive, attempt }) => isLive && attempt === 0)).to.equal(true);
    const [first] = placed;
    expect(await findPod(kubernetes, 'default', first?.name ?? '')).to.deep.equal(first);
    const running = (await listRunPods(kubernetes, 'default', 'large')).filter(({ isWell }) => isWell);
    expect(running).to.have.length.greaterThan(0);
    // The time of a condition comes as text.
    expect(running.every(({ since }) => Number.isFinite(since))).to.equal(true);
  });

  for (const [what, list] of [
    ['nodes', (kubernetes: World['kubernetes']) => listNodeRooms(kubernetes, nodePoolLabel, (node) => node)],
    ['pods', (kubernetes: World['kubernetes']) => readPods(kubernetes, 'default')],
  ] as const) {
    for (const [how, body] of [
      ['cut off', `{"kind": "List", "items": [${'x'.repeat(300_000)}]}`],
      [
        'of objects with fields of another type',
        '{"kind": "List", "items": [{"metadata": 5, "spec": {"taints": 5, "tolerations": 5, "containers": 5}}]}',
      ],
      ['of what is no object', '{"kind": "List", "items": [null]}'],
      ['no list', '{"kind": "Status"}'],
    ] as const) {
      it(`of ${what} is the upstream’s failure where an answer is ${how}`, async () => {
        const { kubernetes, emulator } = createInMemoryWorld();
        emulator.faults.add({ method: 'GET', times: Infinity, effect: { status: 200, body } });
        const refusal = await refusalOf(list(kubernetes));
        expect(refusal).to.be.instanceOf(UpstreamError).and.to.have.property('code', 'upstream_failed');
      });
    }
  }
});

type World = ReturnType<typeof createInMemoryWorld>;

/** All that a decision reads of a node. */
function toHealth(node: V1Node): object {
  const { spec, status } = node;
  // Nothing reads the times of taints.
  const taints = (spec?.taints ?? []).map(({ key, value, effect }) => [key, value, effect]);
  return { ...toNodeHealth(node), allocatable: status?.allocatable, taints };
}

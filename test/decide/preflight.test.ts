import { expect } from 'chai';
import type { NodeRef } from '../../src/gke/nodes.ts';
import { assertExpectedNodeCounts } from '../../src/decide/preflight.ts';
import { isMultiHost, toExpectedNodes } from '../../src/gke/slice.ts';
import { refusal } from '../fixtures/refusal-of.ts';

const topologyLabel = 'cloud.google.com/gke-tpu-topology';
const countLabel = 'cloud.google.com/gke-accelerator-count';

describe('toExpectedNodes', () => {
  for (const { topology, count, nodes, what } of [
    { topology: '2x4', count: '4', nodes: 2, what: 'v6e on two hosts of four chips' },
    { topology: '4x4', count: '4', nodes: 4, what: 'v5e' },
    { topology: '8x8', count: '4', nodes: 16, what: 'v6e' },
    { topology: '16x16', count: '4', nodes: 64, what: 'the largest v6e' },
    { topology: '2x2x2', count: '4', nodes: 2, what: 'the smallest v4' },
    { topology: '4x4x4', count: '4', nodes: 16, what: 'a cube of TPU7x' },
    { topology: '16x20x28', count: '4', nodes: 2240, what: 'the largest v5p' },
    { topology: '2x4', count: '1', nodes: 8, what: 'hosts of one chip' },
  ]) {
    it(`computes ${nodes} nodes for ${topology} with ${count} chips per node (${what})`, () => {
      expect(toExpectedNodes(toNode({ topology, count }))).to.equal(nodes);
    });
  }

  for (const { name, labels, why } of [
    {
      name: 'a pool of CPUs',
      labels: {},
      why: `its nodes have no label ${topologyLabel}`,
    },
    {
      name: 'a pool of GPUs, which has the count too',
      labels: { count: '8' },
      why: `its nodes have no label ${topologyLabel}`,
    },
    {
      name: 'a topology without a count',
      labels: { topology: '8x8' },
      why: `its nodes have no label ${countLabel}`,
    },
    {
      name: 'single-host TPUs, of which a pool may have any number',
      labels: { topology: '2x2', count: '4' },
      why: 'its TPU topology 2x2 fits on one node, so it has independent nodes',
    },
    {
      name: '2x4 on one host of eight chips',
      labels: { topology: '2x4', count: '8' },
      why: 'its TPU topology 2x4 fits on one node, so it has independent nodes',
    },
    {
      name: 'one chip',
      labels: { topology: '1x1', count: '1' },
      why: 'its TPU topology 1x1 fits on one node, so it has independent nodes',
    },
    {
      name: 'chips that do not come out even',
      labels: { topology: '3x3', count: '4' },
      why: 'its TPU topology 3x3 cannot be divided into nodes of 4 chips',
    },
    ...['8', '8x', 'x8', '8X8', '8x8x8x8', '0x8', '-8x8', '8 x 8', '8x8\n', '1e3x2'].map((topology) => ({
      name: `the topology ${JSON.stringify(topology)}`,
      labels: { topology, count: '4' },
      why: `its TPU topology ${topology} is not a known topology`,
    })),
    ...['0', '-4', '4.0', 'four', '99999', ' 4'].map((count) => ({
      name: `the count ${JSON.stringify(count)}`,
      labels: { topology: '8x8', count },
      why: `its label ${countLabel}=${count} is not a number of chips`,
    })),
  ]) {
    it(`cannot be computed for ${name}`, () => {
      expect(toExpectedNodes(toNode(labels))).to.equal(why);
      expect(isMultiHost(toNode(labels))).to.equal(false);
    });
  }
});

describe('isMultiHost', () => {
  it('is true for a node of a slice with several hosts', () => {
    expect(isMultiHost(toNode({ topology: '8x8', count: '4' }))).to.equal(true);
  });
});

describe('assertExpectedNodeCounts', () => {
  it('passes a slice that has every node', () => {
    expect(() => assertExpectedNodeCounts('slice-a', slice(16))).not.to.throw();
  });

  for (const count of [1, 15, 17]) {
    it(`refuses a slice of 16 that has ${count}`, () => {
      expect(refusedWith(slice(count))).to.equal(
        `expected_node_counts: node pool slice-a has ${count} nodes, but its TPU topology 8x8 needs 16`,
      );
    });
  }

  it('refuses a pool without nodes', () => {
    expect(refusedWith([])).to.equal(
      'expected_node_counts: not applicable to node pool slice-a: it has no nodes',
    );
  });

  // It was asked for: where it cannot be made, it must not look as if it had been.
  it('refuses when the check is not applicable, and says why', () => {
    expect(refusedWith([toNode({ count: '8' })])).to.equal(
      `expected_node_counts: not applicable to node pool slice-a: its nodes have no label ${topologyLabel}`,
    );
    expect(refusedWith([toNode({ topology: '2x2', count: '4' })])).to.match(
      /fits on one node, so it has independent nodes$/,
    );
  });

  it('refuses a pool whose nodes have different labels', () => {
    for (const other of [{ topology: '4x4', count: '4' }, { topology: '8x8', count: '8' }, {}]) {
      expect(refusedWith([...slice(15), toNode(other)])).to.equal(
        `expected_node_counts: the nodes of node pool slice-a differ in their labels ${topologyLabel} and ${countLabel}`,
      );
    }
  });
});

function slice(nodes: number): NodeRef[] {
  return Array.from({ length: nodes }, () => toNode({ topology: '8x8', count: '4' }));
}

function toNode({ topology, count }: { topology?: string; count?: string }): NodeRef {
  const labels = {
    ...(topology === undefined ? {} : { [topologyLabel]: topology }),
    ...(count === undefined ? {} : { [countLabel]: count }),
  };
  return { name: 'gke-a-1', uid: 'u', nodePool: 'slice-a', labels, annotations: {}, createdAt: 0 };
}

function refusedWith(nodes: NodeRef[]): string {
  const refused = refusal(() => assertExpectedNodeCounts('slice-a', nodes));
  expect(refused).to.include({ code: 'preflight_refused', status: 409 });
  return refused.message;
}

import type { V1Node } from '@kubernetes/client-node';
import { expect } from 'chai';
import { toNodeHealth } from '../../src/gke/nodes.ts';

const gpu = 'nvidia.com/gpu';

function gpuNode(capacity: string | undefined, allocatable: string | undefined): V1Node {
  return {
    metadata: { name: 'gke-0', labels: { 'cloud.google.com/gke-accelerator': 'nvidia-h100-80gb' } },
    status: {
      capacity: { cpu: '4', ...(capacity === undefined ? {} : { [gpu]: capacity }) },
      allocatable: { cpu: '4', ...(allocatable === undefined ? {} : { [gpu]: allocatable }) },
    },
  };
}

describe('the accelerators of a node', () => {
  // F-361: seven of eight GPUs were healthy, and the machine was told as repaired.
  for (const [capacity, allocatable, isLacking] of [
    ['8', '8', false],
    ['8', '7', true],
    ['8', '0', true],
    ['8', undefined, true],
    [undefined, undefined, true],
    [undefined, '8', false],
  ] as const) {
    it(`of which ${allocatable ?? 'nobody says how many'} of ${capacity ?? 'nobody says how many'} are allocatable ${isLacking ? 'lack' : 'are all there'}`, () => {
      expect(toNodeHealth(gpuNode(capacity, allocatable)).lacksAccelerators).to.equal(isLacking);
    });
  }
});

describe('the system UUID of a node', () => {
  // F-293: two Nodes whose kubelets had not reported were taken for one machine, so a repair was never found to be done.
  for (const [told, expected] of [
    ['ec2f1a3b-0000', 'ec2f1a3b-0000'],
    ['', undefined],
    [undefined, undefined],
  ] as const) {
    it(`is ${expected ?? 'unknown'} where the node tells ${JSON.stringify(told)}`, () => {
      const nodeInfo = told === undefined ? {} : { nodeInfo: { systemUUID: told } };
      const node = gpuNode('8', '8');
      node.status = nodeInfo as V1Node['status'] & object;
      expect(toNodeHealth(node).systemUuid).to.equal(expected);
    });
  }
});

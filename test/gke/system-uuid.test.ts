import { expect } from 'chai';
import { toNodeHealth } from '../../src/gke/nodes.ts';

describe('the system UUID of a node', () => {
  // An empty one of the new machine was taken for the same as the empty one of the old machine, for ever.
  it('is absent where the kubelet has told an empty one', () => {
    const nodeInfo = { systemUUID: '', bootID: '' } as never;
    expect(toNodeHealth({ metadata: { name: 'a' }, status: { nodeInfo } }).systemUuid).to.equal(undefined);
  });
});

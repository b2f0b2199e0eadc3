import { expect } from 'chai';
import type { Interleaving } from '../simulation/interleaving.ts';
import { runInterleaving } from '../simulation/run-interleaving.ts';

// Interleavings that broke a promise once, shrunk.

const restart = { type: 'cordon_nodepool_and_restart_jobset', node: undefined, incident: undefined } as const;

const replays: [string, Interleaving][] = [
  [
    // F-292: the first answer of the API server lay in the socket while the instance was frozen. Its Date was taken for the time, the
    // lock was written as if it were 68 s old, and another request took it at once: two hands on one pool.
    'an instance that is frozen while it waits for its first answer',
    {
      seed: 0,
      backoffLimit: 0,
      replicas: 2,
      controllersMs: 500,
      pauseMs: 0,
      actions: [
        { ...restart, pool: 'slice-a' },
        { ...restart, pool: 'slice-b' },
        { ...restart, pool: 'slice-a' },
        { ...restart, pool: 'slice-a', incident: { startedAt: 0, uncordonsOnClose: false, names: 'target' } },
      ],
      requests: [
        { at: 0, action: 0, instance: 0 },
        { at: 1457, action: 3, instance: 0 },
        { at: 1921, action: 1, instance: 1 },
        { at: 2037, action: 1, instance: 1 },
      ],
      disturbances: [
        { at: 0, kind: 'crash', instance: 0 },
        { at: 235, kind: 'freeze', instance: 1, ms: 70_266 },
        { at: 4102, kind: 'crash', instance: 0 },
      ],
      skews: [0, 0, 0],
      faultsPerMille: 150,
      slowPerMille: 50,
      failedDeletionsPerMille: 500,
    },
  ],
  [
    // The Container API told of GKE's repair after the 3 s that the function waits for it, and the machine was deleted under that repair.
    // The judge took what was answered for what was heard.
    'a repair that is told too late of what GKE does',
    {
      seed: 1_694_306_597,
      backoffLimit: 0,
      replicas: 1,
      controllersMs: 500,
      pauseMs: 75_000,
      actions: [
        { ...restart, pool: 'slice-a' },
        { ...restart, type: 'cordon_and_repair_nodepool', pool: 'slice-b' },
      ],
      requests: [
        { at: 0, action: 1, instance: 0 },
        { at: 3051, action: 0, instance: 0 },
      ],
      disturbances: [
        { at: 0, kind: 'gke_works', pool: 'slice-b', operation: 'AUTO_REPAIR_NODES', ms: 6423 },
        { at: 0, kind: 'person_cordons', pool: 'slice-b', node: 0 },
      ],
      skews: [0, 0, 0],
      faultsPerMille: 150,
      slowPerMille: 50,
      maxPools: 2,
      failedDeletionsPerMille: 0,
    },
  ],
  [
    // The pool's lock was not taken from the Lease that had been seen to be free, so everything was read again, and this time the Container
    // API did not answer. The judge took what was read before the lock for what the function knew.
    'a repair that reads again under the lock, and is told less of what GKE does',
    {
      seed: 17,
      backoffLimit: 0,
      replicas: 1,
      controllersMs: 500,
      pauseMs: 75_000,
      actions: [
        {
          ...restart,
          pool: 'slice-a',
          node: 0,
          incident: { startedAt: 0, uncordonsOnClose: false, names: 'target' },
        },
        { ...restart, type: 'cordon_and_repair_nodepool', pool: 'slice-a', node: 0 },
      ],
      requests: [
        { at: 0, action: 0, instance: 0 },
        { at: 155, action: 3, instance: 0 },
      ],
      disturbances: [
        { at: 0, kind: 'gke_works', pool: 'slice-a', operation: 'AUTO_REPAIR_NODES', ms: 15_568 },
      ],
      skews: [0, 0, 0],
      faultsPerMille: 150,
      slowPerMille: 50,
      maxPools: 2,
      failedDeletionsPerMille: 0,
    },
  ],
];

describe('an interleaving that broke a promise once', () => {
  for (const [title, interleaving] of replays) {
    it(`breaks none any more: ${title}`, async () => {
      const { violations } = await runInterleaving(interleaving);
      expect(violations).to.deep.equal([]);
    });
  }
});

import { expect } from 'chai';
import { describeAbsence } from '../../src/decide/where-it-runs.ts';
import type { Absent } from '../../src/decide/where-it-runs.ts';
import type { JobPod } from '../../src/gke/jobset.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';
import { nodeNames } from '../fixtures/train-world.ts';

const pod = (nodeName: string | undefined, change: Partial<JobPod> = {}) =>
  ({ nodeName, isLive: true, attempt: 1, ...change }) as JobPod;

function ask({ kubernetes }: InMemoryWorld, pods: JobPod[], change: Partial<Absent> = {}) {
  const what = { namespace: 'default', jobSetName: 'train', nodePool: 'slice-a', attempt: 1 };
  return describeAbsence(kubernetes, { ...what, wasRestarted: false, isFromAlert: true, pods, ...change });
}

const firstOf = ({ cluster }: InMemoryWorld, pool: string) => nodeNames(cluster, pool)[0];

describe('describeAbsence', () => {
  it('lists the pools of the live pods of this attempt, once each and in order', async () => {
    const world = createInMemoryWorld({ slices: ['slice-c', 'slice-b', 'slice-a'], jobSet: null });
    const [b, c, a] = ['slice-b', 'slice-c', 'slice-a'].map((pool) => firstOf(world, pool));
    const old = [pod(a, { attempt: 0 }), pod(a, { isLive: false }), pod(undefined)];
    const { runsOn, warning } = await ask(world, [pod(c), pod(b), pod(c), ...old]);
    expect(runsOn).to.deep.equal(['slice-b', 'slice-c']);
    expect(warning).to.match(
      /^JobSet default\/train has no live pod on node pool slice-a; it runs on slice-b, slice-c \(attempt 1\); nothing of it is restarted, and only slice-a is cordoned$/,
    );
    const nowhere = await ask(world, [pod(undefined), pod('gone')]);
    expect(nowhere.runsOn).to.deep.equal([]);
    expect(nowhere.warning).to.match(/; no pod of it runs on a node pool \(attempt 1\)/);
  });

  it('names twenty pools, and says how many more there are', async () => {
    const slices = Array.from({ length: 22 }, (_one, index) => `pool-${String.fromCharCode(97 + index)}`);
    const world = createInMemoryWorld({ slices, jobSet: null });
    const pods = slices.map((pool) => pod(firstOf(world, pool)));
    const { runsOn, warning } = await ask(world, pods);
    expect(runsOn).to.deep.equal(slices);
    expect(warning).to.match(/pool-s, pool-t and 2 more \(attempt 1\)/);
    expect((await ask(world, pods.slice(0, 20))).warning).to.match(/pool-s, pool-t \(attempt 1\)/);
  });

  it('refuses a caller whose JobSet has never run there', async () => {
    const world = createInMemoryWorld({ jobSet: null });
    const pods = [pod(firstOf(world, 'slice-b'))];
    const caller = { isFromAlert: false };
    const { code, message } = await refusalOf(ask(world, pods, caller));
    expect(`${code}: ${message}`).to.match(
      /^target_mismatch: JobSet .* it runs on slice-b .*; nothing was cordoned/,
    );
    expect((await ask(world, pods, { ...caller, wasRestarted: true })).runsOn).to.deep.equal(['slice-b']);
    const ended = pod(firstOf(world, 'slice-a'), { isLive: false });
    expect((await ask(world, [...pods, ended], caller)).runsOn).to.deep.equal(['slice-b']);
    expect((await ask(world, [...pods, pod('gone', { isLive: false })], caller)).runsOn).to.deep.equal([
      'slice-b',
    ]);
    expect(await refusalOf(ask(world, [...pods, pod(undefined)], caller))).to.have.property(
      'code',
      'target_mismatch',
    );
  });
});

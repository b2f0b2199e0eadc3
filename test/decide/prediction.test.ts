import { expect } from 'chai';
import type { PodSpec, Taint } from '../emulator/objects.ts';
import type { TpuSliceOptions } from '../emulator/world.ts';
import { countEffects } from '../fixtures/count-writes.ts';
import { countCordoned, nodeNames } from '../fixtures/train-world.ts';
import type { TrainWorldOptions } from '../fixtures/train-world.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

const restart = {
  id: 'a',
  type: 'cordon_nodepool_and_restart_jobset',
  node_pool: 'slice-a',
  jobset_name: 'train',
};
const poolLabel = 'cloud.google.com/gke-nodepool';
const tpu = 'google.com/tpu';
const waits = ', so the JobSet will wait for capacity';
const oneSlice = { slices: ['slice-a'] };
const spread = { exclusiveTopology: '' };
const spot: Taint = { key: 'cloud.google.com/gke-spot', value: 'true', effect: 'NoSchedule' };

/** The JobSet's attempt 1: how many of its pods run, and how many wait. */
function nextAttempt({ cluster }: VirtualFailover): { running: number; waiting: number } {
  const phases = cluster
    .pods('default')
    .filter(({ metadata }) => metadata.labels?.['jobset.sigs.k8s.io/restart-attempt'] === '1')
    .map(({ status }) => status.phase);
  return {
    running: phases.filter((phase) => phase === 'Running').length,
    waiting: phases.filter((phase) => phase === 'Pending').length,
  };
}

interface Row {
  what: string;
  /** One slice, `slice-a`, runs the JobSet unless said otherwise. */
  world?: TrainWorldOptions;
  /** A slice of 4 machines beside it. */
  sliceB?: TpuSliceOptions;
  prepare?: (world: VirtualFailover) => void | Promise<void>;
  elsewhere: number;
  warning?: string;
  /** What the scheduler makes of it. */
  next: { running: number; waiting: number };
}

async function build({ world: options = oneSlice, sliceB, prepare }: Partial<Row>): Promise<VirtualFailover> {
  const world = new VirtualFailover(options);
  if (sliceB) world.cluster.addTpuSlice('slice-b', { topology: '4x4', ...sliceB });
  await prepare?.(world);
  return world;
}

const all = { running: 4, waiting: 0 };
/** Under exclusive placement the followers are not made before their leader has a node. */
const onlyLeader = { running: 0, waiting: 1 };

// F-180: nodes with a taint that the pods don't tolerate, with too few devices, or dead, were counted as room.
// F-181: one node was left for four pods, and the answer had no warning.
// F-182: the prediction looked at one Job, and the JobSet's head, which is made anew, too, waited for ever.
describe('schedulable_elsewhere', () => {
  const rows: Row[] = [
    { what: 'counts the nodes of a free slice', sliceB: {}, elsewhere: 4, next: all },
    {
      what: 'counts no node with a taint that the pods do not tolerate',
      sliceB: { taints: [spot] },
      elsewhere: 0,
      warning: `no node outside the pool can take the pods of Job train-workers-0 (4 tainted ${spot.key})${waits}`,
      next: onlyLeader,
    },
    {
      what: 'counts no node with a NoExecute taint that the pods do not tolerate',
      sliceB: { taints: [{ key: 'nvidia.com/gpu-error', value: 'xid', effect: 'NoExecute' }] },
      elsewhere: 0,
      warning: `no node outside the pool can take the pods of Job train-workers-0 (4 tainted nvidia.com/gpu-error)${waits}`,
      next: onlyLeader,
    },
    {
      what: 'counts a node that would rather not',
      sliceB: { taints: [{ key: 'x', effect: 'PreferNoSchedule' }] },
      elsewhere: 4,
      next: all,
    },
    ...[
      { key: spot.key, operator: 'Equal' as const, value: 'true', effect: 'NoSchedule' },
      { key: spot.key, operator: 'Exists' as const },
      { key: spot.key, value: 'true' },
    ].map((toleration): Row => ({
      what: `counts a node whose taint the pods tolerate by ${JSON.stringify(toleration)}`,
      world: { ...oneSlice, jobs: [{ tolerations: [toleration] }] },
      sliceB: { taints: [spot] },
      elsewhere: 4,
      next: all,
    })),
    {
      what: 'counts no node whose taint has another value than the pods tolerate',
      world: { ...oneSlice, jobs: [{ tolerations: [{ key: spot.key, value: 'false' }] }] },
      sliceB: { taints: [spot] },
      elsewhere: 0,
      warning: `no node outside the pool can take the pods of Job train-workers-0 (4 tainted ${spot.key})${waits}`,
      next: onlyLeader,
    },
    {
      what: 'counts no node with fewer devices than a pod requests',
      sliceB: { resources: { [tpu]: 1 } },
      elsewhere: 0,
      warning: `no node outside the pool can take the pods of Job train-workers-0 (4 too little ${tpu})${waits}`,
      next: onlyLeader,
    },
    {
      what: 'counts no node with less cpu than a pod requests',
      world: {
        slices: ['slice-a'],
        slice: { resources: { [tpu]: 4, cpu: 96 } },
        jobs: [{ resources: { [tpu]: 4, cpu: 8 } }],
      },
      sliceB: {},
      elsewhere: 0,
      warning: `no node outside the pool can take the pods of Job train-workers-0 (4 too little cpu)${waits}`,
      next: onlyLeader,
    },
    {
      what: 'counts no node that has not been Ready for 60 s',
      sliceB: {},
      prepare: async (world) => {
        for (const name of nodeNames(world.cluster, 'slice-b')) world.cluster.killNode(name);
        await world.pass(60);
      },
      elsewhere: 0,
      warning: `no node outside the pool can take the pods of Job train-workers-0 (4 not Ready)${waits}`,
      next: onlyLeader,
    },
    {
      what: 'counts no cordoned node',
      sliceB: {},
      prepare: ({ cluster }) => {
        for (const name of nodeNames(cluster, 'slice-b')) cluster.cordonAs('kubectl', name, true);
      },
      elsewhere: 0,
      warning: `no node outside the pool can take the pods of Job train-workers-0 (4 cordoned)${waits}`,
      next: onlyLeader,
    },
    {
      what: 'says each reason, the most frequent one first',
      sliceB: { resources: { [tpu]: 1 } },
      prepare: ({ cluster }) => {
        const [name = ''] = nodeNames(cluster, 'slice-b');
        cluster.cordonAs('kubectl', name, true);
      },
      elsewhere: 0,
      warning: `no node outside the pool can take the pods of Job train-workers-0 (3 too little ${tpu}, 1 cordoned)${waits}`,
      next: onlyLeader,
    },
    {
      what: 'says that one node is left for four pods',
      world: { ...oneSlice, jobSet: spread },
      sliceB: { topology: '2x2' },
      elsewhere: 1,
      warning: `outside the pool is room for 1 of the 4 pods of Job train-workers-0${waits}`,
      next: { running: 1, waiting: 3 },
    },
    {
      what: 'does not warn where one node has room for several pods',
      world: {
        slices: ['slice-a'],
        slice: { topology: '2x2' },
        jobSet: spread,
        jobs: [{ resources: { [tpu]: 1 } }],
      },
      sliceB: { topology: '2x2' },
      elsewhere: 1,
      next: all,
    },
    {
      what: 'says that no pool has room for a whole Job, though there are nodes enough',
      sliceB: {},
      prepare: ({ cluster }) => {
        cluster.addTpuSlice('slice-c', { topology: '4x4' });
        for (const pool of ['slice-b', 'slice-c']) {
          cluster.cordonAs('kubectl', nodeNames(cluster, pool)[0] ?? '', true);
        }
      },
      elsewhere: 6,
      warning: `outside the pool, 0 of 1 Jobs would find a ${poolLabel} of its own with room for all its pods (Job train-workers-0)${waits}`,
      next: { running: 3, waiting: 1 },
    },
    {
      what: 'says that two Jobs find one pool between them',
      world: { jobs: [{ replicas: 2 }] },
      elsewhere: 4,
      warning: `outside the pool, 1 of 2 Jobs would find a ${poolLabel} of its own with room for all its pods (Job train-workers-0 and 1 more)${waits}`,
      next: { running: 4, waiting: 1 },
    },
    {
      what: 'says that Jobs that ask for different nodes have too few devices between them',
      world: {
        slices: ['slice-a', 'slice-b'],
        jobSet: spread,
        jobs: [{ name: 'head', parallelism: 1, resources: { [tpu]: 4, cpu: 1 } }, {}],
      },
      elsewhere: 4,
      warning: `the Jobs ask for 20 ${tpu}, and the nodes outside the pool that could take them have 16${waits}`,
      next: { running: 4, waiting: 1 },
    },
    {
      what: 'says that the head of the JobSet has no node left',
      world: {
        slices: ['slice-a', 'slice-b'],
        jobSet: spread,
        jobs: [{}, { name: 'head', parallelism: 1, resources: {}, nodeSelector: { [poolLabel]: 'cpu' } }],
      },
      prepare: async (world) => {
        world.cluster.addPool('cpu');
        await world.pass(1);
        for (const name of nodeNames(world.cluster, 'cpu')) world.cluster.cordonAs('kubectl', name, true);
      },
      elsewhere: 4,
      warning: `no node outside the pool can take the pods of Job train-head-0 (2 cordoned)${waits}`,
      next: { running: 4, waiting: 1 },
    },
    {
      what: 'says that the head of the JobSet has lost its pool',
      world: {
        slices: ['slice-a', 'slice-b'],
        jobSet: spread,
        jobs: [{}, { name: 'head', parallelism: 1, resources: {}, nodeSelector: { [poolLabel]: 'cpu' } }],
      },
      elsewhere: 4,
      warning: `no uncordoned node outside the pool matches the pods of Job train-head-0${waits}`,
      next: { running: 4, waiting: 1 },
    },
  ];
  for (const row of rows) {
    it(row.what, async () => {
      const world = await build(row);
      const dry = (await world.send({ ...restart, dry_run: true })).steps.at(-1);
      const { steps, error } = await world.send(restart);
      expect(error).to.equal(undefined);
      const live = steps.at(-1);
      expect(live).to.include({ outcome: 'restarted', schedulable_elsewhere: row.elsewhere });
      expect(live?.['warning']).to.equal(row.warning);
      expect(dry).to.deep.equal({ ...live, outcome: 'would_restart' });
      await world.pass(60);
      expect(nextAttempt(world)).to.deep.equal(row.next);
    });
  }

  it('counts a node that went not Ready a moment ago, because it may be back before the pods are', async () => {
    const world = await build({ sliceB: {} });
    for (const name of nodeNames(world.cluster, 'slice-b')) world.cluster.killNode(name);
    await world.pass(30);
    const { steps } = await world.send({ ...restart, dry_run: true });
    expect(steps.at(-1)).to.include({ schedulable_elsewhere: 4 }).and.not.have.property('warning');
  });

  it('counts a node that is taken: the answer does not say what is free', async () => {
    const world = await build({ sliceB: {} });
    world.cluster.addJobSet({
      name: 'other',
      replicatedJobs: [{ name: 'w', parallelism: 4, nodeSelector: { [poolLabel]: 'slice-b' } }],
    });
    await world.pass(1);
    const { steps } = await world.send({ ...restart, dry_run: true });
    expect(steps.at(-1)).to.include({ schedulable_elsewhere: 4 });
  });

  it('takes what a webhook has added to the pods, and not to their template', async () => {
    const world = await build({ sliceB: { taints: [spot] } });
    changePods(world, (spec) => {
      spec.tolerations = [...(spec.tolerations ?? []), { key: spot.key, operator: 'Exists' }];
    });
    const tolerating = await world.send({ ...restart, dry_run: true });
    expect(tolerating.steps.at(-1)).to.include({ schedulable_elsewhere: 4 });
    changePods(world, (spec) => {
      spec.nodeSelector = { ...spec.nodeSelector, 'cloud.google.com/gke-tpu-topology': '8x8' };
    });
    world.cluster.addTpuSlice('slice-c', { topology: '8x8' });
    const selecting = await world.send({ ...restart, dry_run: true });
    expect(selecting.steps.at(-1)).to.include({ schedulable_elsewhere: 16 });
  });

  it('takes a Job that has not been made yet from the JobSet', async () => {
    const world = await build({
      world: { slices: ['slice-a', 'slice-b'], jobs: [{}, { name: 'later', resources: { [tpu]: 8 } }] },
    });
    world.cluster.remove('jobs', 'default', 'train-later-0');
    const { steps } = await world.send({ ...restart, dry_run: true });
    expect(steps.at(-1)?.['warning']).to.equal(
      `no node outside the pool can take the pods of Job train-later-0 (4 too little ${tpu})${waits}`,
    );
  });

  it('asks for whole nodes by one list for each selector, all at once', async () => {
    const selected = { 'cloud.google.com/gke-tpu-topology': '4x4' };
    const world = await build({
      world: {
        slices: ['slice-a', 'slice-b'],
        jobSet: spread,
        jobs: [
          { nodeSelector: selected },
          { name: 'peer', parallelism: 1, nodeSelector: selected, resources: {} },
          { name: 'head', parallelism: 1, resources: {}, nodeSelector: { [poolLabel]: 'cpu' } },
        ],
      },
    });
    const { length } = world.emulator.requests;
    const startedAt = world.time.now;
    await world.send({ ...restart, dry_run: true });
    const lists = world.emulator.requests
      .slice(length)
      .map(({ query }) => query['labelSelector'] ?? '')
      .filter((selector) => selector.includes(`${poolLabel}!=`));
    expect(lists).to.deep.equal([
      `cloud.google.com/gke-tpu-topology=4x4,${poolLabel}!=slice-a`,
      `${poolLabel}=cpu,${poolLabel}!=slice-a`,
    ]);
    // A request takes 5 ms there and 5 ms back.
    expect((world.time.now - startedAt) / 10).to.equal(3);
  });

  it('asks for all nodes at once where there are more than sixteen selectors', async () => {
    const jobs = Array.from({ length: 17 }, (_, index) => ({
      name: `j${index}`,
      parallelism: 1,
      nodeSelector: { 'example.com/for': `j${index}` },
    }));
    const world = await build({
      world: { slices: ['slice-a'], jobSet: spread, jobs: [{}, ...jobs] },
      sliceB: { labels: { 'example.com/for': 'j16' } },
    });
    await world.pass(1);
    const { length } = world.emulator.requests;
    const { steps } = await world.send({ ...restart, dry_run: true });
    const lists = world.emulator.requests
      .slice(length)
      .map(({ query }) => query['labelSelector'] ?? '')
      .filter((selector) => selector.includes(`${poolLabel}!=`));
    expect(lists).to.deep.equal([`${poolLabel}!=slice-a`]);
    const fewer = await build({
      world: { slices: ['slice-a'], jobSet: spread, jobs: [{}, ...jobs.slice(0, 15)] },
    });
    await fewer.send({ ...restart, dry_run: true });
    const separate = fewer.emulator.requests.filter(({ query }) =>
      query['labelSelector']?.includes(`${poolLabel}!=`),
    );
    expect(separate).to.have.length(16);
    const lacking = ['j0', 'j1', 'j2'].map(
      (name) => `no uncordoned node outside the pool matches the pods of Job train-${name}-0`,
    );
    expect(steps.at(-1)?.['warning']).to.equal(`${lacking.join('; ')}; and 13 more such Jobs${waits}`);
  });
});

/** Nothing may have been touched. */
async function expectRefused(world: VirtualFailover, why: RegExp): Promise<void> {
  for (const body of [{ ...restart, dry_run: true }, restart]) {
    const { code, error } = await world.send(body);
    expect(code).to.equal('restart_refused');
    expect(error).to.match(why);
  }
  expect(countEffects(world.newWrites())).to.deep.equal({});
  expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
}

function changePods({ cluster }: VirtualFailover, change: (spec: PodSpec) => void): void {
  for (const { metadata } of cluster.pods('default')) {
    cluster.change('pods', 'default', metadata.name, ({ spec }) => change(spec));
  }
}

function labelNodes({ cluster }: VirtualFailover, pool: string, labels: Record<string, string>): void {
  for (const name of nodeNames(cluster, pool)) {
    cluster.change('nodes', undefined, name, ({ metadata }) => Object.assign(metadata.labels ?? {}, labels));
  }
}

// F-149: pods that tolerate the cordon's taint came straight back onto the cordoned pool.
describe('pods that a cordon does not keep off', () => {
  const unschedulable = 'node.kubernetes.io/unschedulable';
  const widest = { operator: 'Exists' } as const;
  for (const toleration of [
    widest,
    { operator: 'Exists', effect: 'NoSchedule' },
    { key: unschedulable, operator: 'Exists' },
    { key: unschedulable, operator: 'Exists', effect: 'NoSchedule' },
    { key: unschedulable, effect: 'NoSchedule' },
  ] as const) {
    it(`are not restarted where they tolerate ${JSON.stringify(toleration)}`, async () => {
      const world = await build({ world: { jobs: [{ tolerations: [toleration] }] } });
      await expectRefused(
        world,
        /^the pods of Job train-workers-0 tolerate node\.kubernetes\.io\/unschedulable, or everything, so a cordon does not keep them off node pool slice-a, .* repair the pool instead/,
      );
    });
  }

  for (const toleration of [
    { operator: 'Exists', effect: 'NoExecute' },
    { key: unschedulable, operator: 'Exists', effect: 'NoExecute' },
    { key: unschedulable, operator: 'Equal', value: 'true' },
    { key: 'node.kubernetes.io/not-ready', operator: 'Exists' },
  ] as const) {
    it(`are not those that tolerate ${JSON.stringify(toleration)}`, async () => {
      const world = await build({ world: { jobs: [{ tolerations: [toleration] }] } });
      expect((await world.send(restart)).steps.at(-1)).to.include({ outcome: 'restarted' });
      await world.pass(60);
      expect(nextAttempt(world)).to.deep.equal(all);
    });
  }

  it('are not restarted where a webhook has added the toleration to the pods', async () => {
    const world = await build({ sliceB: {} });
    changePods(world, (spec) => (spec.tolerations = [widest]));
    await expectRefused(world, /^the pods of Job train-workers-0 tolerate /);
  });

  it('are not restarted where their template names their node', async () => {
    const world = await build({ sliceB: {} });
    const [nodeName = ''] = nodeNames(world.cluster, 'slice-a');
    world.cluster.change('jobs', 'default', 'train-workers-0', ({ spec }) => {
      spec.template.spec.nodeName = nodeName;
    });
    await expectRefused(world, /^the pods of Job train-workers-0 name their node \(nodeName\), so a cordon/);
  });

  describe('in a Job that runs elsewhere', () => {
    const head = (tolerations: NonNullable<PodSpec['tolerations']>, selected?: Record<string, string>) => ({
      world: {
        slices: ['slice-a', 'slice-b'],
        jobSet: spread,
        jobs: [
          {},
          {
            name: 'head',
            parallelism: 1,
            resources: {},
            tolerations,
            nodeSelector: selected ?? {},
          },
        ],
      },
      prepare: async (world: VirtualFailover) => {
        world.cluster.addPool('a-cpu');
        await world.pass(1);
        world.cluster.remove(
          'pods',
          'default',
          world.cluster.pods('default').find(({ metadata }) => metadata.name.startsWith('train-head'))
            ?.metadata.name ?? '',
        );
        await world.pass(1);
      },
    });

    it('are not restarted where they could come onto the pool', async () => {
      const world = await build(head([widest]));
      await expectRefused(world, /^the pods of Job train-head-0 tolerate /);
    });

    /** The template of the head, which has no pod now, names a node. */
    const naming = (pool: string) => {
      const { prepare, ...rest } = head([]);
      return {
        ...rest,
        prepare: async (world: VirtualFailover) => {
          await prepare(world);
          const nodeName = nodeNames(world.cluster, pool)[1] ?? nodeNames(world.cluster, pool)[0];
          world.cluster.change('jobs', 'default', 'train-head-0', ({ spec }) =>
            Object.assign(spec.template.spec, { nodeName }),
          );
        },
      };
    };

    it('are not restarted where they name a node of the pool, and are where they name another one', async () => {
      await expectRefused(
        await build(naming('slice-a')),
        /^the pods of Job train-head-0 name their node \(nodeName\)/,
      );
      const world = await build(naming('slice-b'));
      expect((await world.send(restart)).steps.at(-1)).to.include({ outcome: 'restarted' });
    });

    it('are restarted where another taint keeps them off the pool', async () => {
      const world = await build(head([{ key: unschedulable, operator: 'Exists' }]));
      expect((await world.send(restart)).steps.at(-1)).to.include({ outcome: 'restarted' });
    });

    it('are restarted where their selectors keep them off the pool', async () => {
      const world = await build(head([widest], { [poolLabel]: 'a-cpu' }));
      expect((await world.send(restart)).steps.at(-1)).to.include({ outcome: 'restarted' });
    });
  });
});

// F-183: only selectors for the pool's name and its nodes' names counted as pinned.
describe('pods that may run on the pool only', () => {
  const reservation = { 'example.com/reservation': 'r1' };

  it('are those of JobSet’s node-selector strategy', async () => {
    const domain = 'alpha.jobset.sigs.k8s.io';
    const world = new VirtualFailover({
      slices: [],
      jobSet: { annotations: { [`${domain}/node-selector`]: 'true' } },
    });
    const labels = { [`${domain}/namespaced-job`]: 'default_train-workers-0' };
    world.cluster.addTpuSlice('slice-a', { topology: '4x4', labels });
    world.cluster.addTpuSlice('slice-b', { topology: '4x4' });
    await world.pass(1);
    await expectRefused(
      world,
      /^the pods of Job train-workers-0 ask for nodes with alpha\.jobset\.sigs\.k8s\.io\/namespaced-job=default_train-workers-0, and no node outside node pool slice-a has it, cordoned or not; give the nodes of another pool what they ask for \(a pool without nodes cannot be seen\), or repair this pool instead \(cordon_and_repair_nodepool\)$/,
    );
  });

  it('are those with a selector that only this pool matches', async () => {
    const world = await build({
      world: { slices: ['slice-a'], slice: { labels: reservation }, jobs: [{ nodeSelector: reservation }] },
      sliceB: {},
    });
    await expectRefused(world, /ask for nodes with example\.com\/reservation=r1, and no node outside/);
  });

  it('are those with an affinity that only this pool matches', async () => {
    const matchExpressions = [{ key: 'example.com/reservation', operator: 'Exists' }];
    const affinity = {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions }] },
      },
    };
    const world = await build({
      world: { slices: ['slice-a'], slice: { labels: reservation }, jobs: [{ affinity }] },
      sliceB: {},
    });
    await expectRefused(world, /ask for nodes with their required node affinity, and no node outside/);
  });

  it('are those of a Job of the next attempt that does not run now', async () => {
    const world = await build({
      world: {
        slices: ['slice-a', 'slice-b'],
        jobSet: spread,
        jobs: [{}, { name: 'done', parallelism: 1, resources: {}, nodeSelector: reservation }],
      },
      prepare: async (world) => {
        labelNodes(world, 'slice-a', reservation);
        await world.pass(1);
        const done = world.cluster
          .pods('default')
          .find(({ metadata }) => metadata.name.startsWith('train-done'));
        world.cluster.finishPod('default', done?.metadata.name ?? '', 'Succeeded');
        await world.pass(1);
      },
    });
    await expectRefused(world, /^the pods of Job train-done-0 ask for nodes with example\.com/);
  });

  it('are not those with an affinity that names another pool, which may get nodes', async () => {
    const matchExpressions = [{ key: poolLabel, operator: 'In', values: ['slice-a', 'slice-z'] }];
    const affinity = {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions }] },
      },
    };
    const world = await build({ world: { slices: ['slice-a'], jobs: [{ affinity }] }, sliceB: {} });
    expect((await world.send(restart)).steps.at(-1)).to.include({
      outcome: 'restarted',
      warning: `no uncordoned node outside the pool matches the pods${waits}`,
    });
  });

  it('are not those that a cordoned node elsewhere matches: it can be uncordoned', async () => {
    const world = await build({
      world: { slices: ['slice-a'], slice: { labels: reservation }, jobs: [{ nodeSelector: reservation }] },
      sliceB: { labels: reservation },
    });
    for (const name of nodeNames(world.cluster, 'slice-b')) world.cluster.cordonAs('kubectl', name, true);
    expect((await world.send(restart)).steps.at(-1)).to.include({
      outcome: 'restarted',
      schedulable_elsewhere: 0,
    });
  });
});

// F-184: Kueue assigns a node to each pod and keeps the assignment, so that the pods waited for the cordoned nodes.
describe('pods that Kueue’s topology-aware scheduling has placed', () => {
  const refusal =
    /^the pods of Job train-workers-0 were assigned to their nodes one by one, as Kueue's topology-aware scheduling does, .* evict the Workload/;

  it('are not restarted where the template has its label', async () => {
    const world = await build({ sliceB: {} });
    world.cluster.change('jobs', 'default', 'train-workers-0', ({ spec }) => {
      spec.template.metadata = { ...spec.template.metadata, labels: { 'kueue.x-k8s.io/tas': 'true' } };
    });
    await expectRefused(world, refusal);
  });

  it('are not restarted where the template has its gate', async () => {
    const world = await build({ sliceB: {} });
    world.cluster.change('jobs', 'default', 'train-workers-0', ({ spec }) => {
      spec.template.spec['schedulingGates'] = [{ name: 'kueue.x-k8s.io/topology' }];
    });
    await expectRefused(world, refusal);
  });

  it('are not restarted where the pods have a node each, and their template none', async () => {
    const world = await build({ sliceB: {} });
    changePods(world, (spec) => {
      spec.nodeSelector = { ...spec.nodeSelector, 'kubernetes.io/hostname': spec.nodeName ?? '' };
    });
    await expectRefused(world, refusal);
  });

  it('are restarted where they run elsewhere', async () => {
    const world = await build({ world: { jobs: [{}, { name: 'z' }] } });
    world.cluster.addTpuSlice('slice-c', { topology: '4x4' });
    world.cluster.change('jobs', 'default', 'train-z-0', ({ spec }) => {
      spec.template.metadata = { ...spec.template.metadata, labels: { 'kueue.x-k8s.io/tas': 'true' } };
    });
    const { steps } = await world.send({ ...restart, dry_run: true });
    expect(steps.at(-1)).to.include({ outcome: 'would_restart', schedulable_elsewhere: 8 });
  });

  it('are not those that JobSet gives a host of its own', async () => {
    const world = await build({
      world: {
        jobSet: { exclusiveTopology: 'kubernetes.io/hostname' },
        jobs: [{ replicas: 2, parallelism: 2, resources: { [tpu]: 2 } }],
      },
    });
    expect((await world.send(restart)).steps.at(-1)).to.include({
      outcome: 'restarted',
      schedulable_elsewhere: 4,
    });
  });
});

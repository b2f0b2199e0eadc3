import { expect } from 'chai';
import type { TpuSliceOptions } from '../emulator/world.ts';
import { countEffects } from '../fixtures/count-writes.ts';
import { nodeNames } from '../fixtures/train-world.ts';
import type { TrainWorldOptions } from '../fixtures/train-world.ts';
import { restartOfTrain } from '../fixtures/verdicts.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

const oneSlice: TrainWorldOptions = { slices: ['slice-a'] };
const pool = 'cloud.google.com/gke-nodepool';

interface Row {
  what: string;
  world?: TrainWorldOptions & { environment?: Record<string, string> };
  /** Slices of 4 machines beside `slice-a`. */
  beside?: Record<string, TpuSliceOptions>;
  prepare?: (world: VirtualFailover) => void;
  spare: { slices: number; needed: number };
  /** Why that is not enough. */
  lacks?: RegExp;
}

function addRun({ cluster, emulator }: VirtualFailover, on: string, more: object = {}): void {
  cluster.addJobSet({
    name: 'other',
    exclusiveTopology: pool,
    replicatedJobs: [
      { name: 'workers', parallelism: 4, backoffLimit: 0, nodeSelector: { [pool]: on }, ...more },
    ],
  });
  emulator.settle();
}

/** A pod that belongs to no JobSet, on a node of a pool: the first one unless said otherwise. */
function addPod(
  { cluster, emulator }: VirtualFailover,
  on: string,
  {
    resources = { 'google.com/tpu': '4' },
    namespace = 'default',
    index = 0,
  }: { resources?: Record<string, string>; namespace?: string; index?: number } = {},
): void {
  if (namespace !== 'default') cluster.addNamespace(namespace);
  const { status, body } = cluster.ask('POST', `/api/v1/namespaces/${namespace}/pods`, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: `notebook-${index}` },
    spec: {
      nodeName: nodeNames(cluster, on)[index],
      containers: [{ name: 'main', image: 'x', resources: { limits: resources, requests: resources } }],
    },
  });
  expect(status, JSON.stringify(body)).to.equal(201);
  emulator.settle();
}

async function dryRunOf({ world: options = oneSlice, beside = {}, prepare }: Row) {
  const world = new VirtualFailover(options);
  for (const [name, slice] of Object.entries(beside)) {
    world.cluster.addTpuSlice(name, { topology: '4x4', ...slice });
  }
  world.emulator.settle();
  prepare?.(world);
  const { steps, error } = await world.send({ ...restartOfTrain, dry_run: true });
  const step = steps.find((each) => each.step === 'restart');
  expect(countEffects(world.newWrites()), error).to.deep.equal({});
  return { world, spare: step?.['spare'], warning: step?.['warning'] };
}

describe('spare', () => {
  const rows: Row[] = [
    { what: 'counts a free slice', beside: { 'slice-b': {} }, spare: { slices: 1, needed: 1 } },
    {
      what: 'counts all free slices',
      beside: { 'slice-b': {}, 'slice-c': {} },
      spare: { slices: 2, needed: 1 },
    },
    {
      what: 'is 0 where there is no other pool',
      spare: { slices: 0, needed: 1 },
      lacks: /no uncordoned node/,
    },
    {
      what: 'counts no slice with another run on it',
      beside: { 'slice-b': {} },
      prepare: (world) => addRun(world, 'slice-b'),
      spare: { slices: 0, needed: 1 },
      lacks:
        /^outside the pool, 0 of 1 whole slices .* free \(slice-b has JobSet default\/other\), so the JobSet will wait/,
    },
    {
      what: 'counts no slice with a single pod of another run on it',
      beside: { 'slice-b': {} },
      prepare: (world) => addRun(world, 'slice-b', { parallelism: 1 }),
      spare: { slices: 0, needed: 1 },
      lacks: /slice-b has JobSet default\/other/,
    },
    {
      what: 'counts no slice with a pod on it that uses a device',
      beside: { 'slice-b': {} },
      prepare: (world) => addPod(world, 'slice-b'),
      spare: { slices: 0, needed: 1 },
      lacks: /slice-b has pod default\/notebook-0/,
    },
    {
      what: 'counts a slice with a pod on it that uses no device',
      beside: { 'slice-b': {} },
      prepare: (world) => addPod(world, 'slice-b', { resources: { cpu: '1' } }),
      spare: { slices: 1, needed: 1 },
    },
    {
      what: 'sees the pods of every allowed namespace',
      world: { ...oneSlice, environment: { ALLOWED_NAMESPACES: 'default,research' } },
      beside: { 'slice-b': {} },
      prepare: (world) => addPod(world, 'slice-b', { namespace: 'research' }),
      spare: { slices: 0, needed: 1 },
      lacks: /slice-b has pod research\/notebook-0/,
    },
    {
      what: 'counts no slice of which one node is cordoned',
      beside: { 'slice-b': {} },
      prepare: ({ cluster }) => cluster.cordonAs('test', nodeNames(cluster, 'slice-b')[0] ?? '', true),
      spare: { slices: 0, needed: 1 },
      lacks: /0 of 1 Jobs would find/,
    },
    {
      what: 'counts no slice of which one node is dead',
      beside: { 'slice-b': {} },
      prepare: (world) => {
        world.cluster.killNode(nodeNames(world.cluster, 'slice-b')[0] ?? '');
        world.time.now += 120_000;
        world.emulator.settle();
      },
      spare: { slices: 0, needed: 1 },
      lacks: /0 of 1 Jobs would find/,
    },
    {
      what: 'counts no slice that lacks a node, although the Job is small enough for the rest',
      world: { ...oneSlice, jobs: [{ parallelism: 2 }] },
      beside: { 'slice-b': {} },
      prepare: ({ cluster }) => cluster.remove('nodes', undefined, nodeNames(cluster, 'slice-b')[0] ?? ''),
      spare: { slices: 0, needed: 1 },
      lacks: /0 of 1 whole slices/,
    },
    {
      what: 'counts the slices that the run itself has elsewhere, because its own pods go',
      world: { slices: ['slice-a', 'slice-b', 'slice-c'], jobs: [{ replicas: 2 }] },
      spare: { slices: 2, needed: 2 },
    },
    {
      what: 'is one too few where the run has all the other slices itself',
      world: { slices: ['slice-a', 'slice-b'], jobs: [{ replicas: 2 }] },
      spare: { slices: 1, needed: 2 },
      lacks: /1 of 2 Jobs would find/,
    },
    {
      what: 'needs a slice for each Job, the largest of which must find one',
      world: {
        slices: ['slice-a', 'slice-b'],
        jobs: [
          { name: 'small', parallelism: 2 },
          { name: 'large', parallelism: 4 },
        ],
      },
      beside: { 'slice-c': { topology: '2x4', chipsPerNode: 4 } },
      spare: { slices: 2, needed: 2 },
    },
    {
      what: 'leaves out a launcher that uses no device',
      world: {
        ...oneSlice,
        jobSet: { exclusiveTopology: '' },
        jobs: [{}, { name: 'head', parallelism: 1, resources: { cpu: 1 } }],
      },
      beside: { 'slice-b': {} },
      prepare: ({ cluster }) => void cluster.addPool('cpu', { nodes: 1 }),
      spare: { slices: 1, needed: 1 },
    },
    {
      what: 'fills whole slices where the run has no exclusive placement',
      world: { ...oneSlice, jobSet: { exclusiveTopology: '' }, jobs: [{ parallelism: 4, replicas: 1 }] },
      beside: { 'slice-b': {}, 'slice-c': {} },
      prepare: (world) => addPod(world, 'slice-b'),
      spare: { slices: 1, needed: 1 },
    },
  ];
  for (const row of rows) {
    it(row.what, async () => {
      const { spare, warning } = await dryRunOf(row);
      expect(spare).to.deep.equal(row.spare);
      if (row.lacks) expect(warning).to.match(row.lacks);
      else expect(warning).to.equal(undefined);
    });
  }

  it('counts nodes where the pods run on independent nodes', async () => {
    const world = new VirtualFailover({ slices: [], jobSet: null });
    world.cluster.addPool('gpu-a', { gpu: true, nodes: 2 });
    world.cluster.addJobSet({
      name: 'train',
      replicatedJobs: [
        { name: 'workers', parallelism: 4, backoffLimit: 0, resources: { 'nvidia.com/gpu': 4 } },
      ],
    });
    world.emulator.settle();
    world.cluster.addPool('gpu-b', { gpu: true, nodes: 3 });
    const dryRun = { ...restartOfTrain, node_pool: 'gpu-a', dry_run: true };
    const { steps } = await world.send(dryRun);
    expect(steps[1]).to.deep.include({ spare: { slices: 3, needed: 2 } });
    for (const index of [0, 1]) addPod(world, 'gpu-b', { resources: { 'nvidia.com/gpu': '1' }, index });
    const again = await world.send(dryRun);
    expect(again.steps[1]).to.deep.include({ spare: { slices: 1, needed: 2 } });
    expect(again.steps[1]?.['warning']).to.match(
      /^outside the pool, 1 of 2 nodes that the Jobs need are free/,
    );
  });
});

// F-304: a restart that was to be refused without spare capacity cordoned its pool first.
describe('spare capacity as a condition', () => {
  const conditions = {
    'preflight_checks.spare_capacity': {
      fields: { preflight_checks: { spare_capacity: true } },
      code: 'preflight_refused',
    },
    'when_no_spare refuse': { fields: { when_no_spare: 'refuse' }, code: 'restart_refused' },
  };
  for (const [what, { fields, code }] of Object.entries(conditions)) {
    it(`${what}: refuses where no slice is free, and touches nothing`, async () => {
      const world = new VirtualFailover(oneSlice);
      for (const dryRun of [true, false]) {
        const answer = await world.send({ ...restartOfTrain, ...fields, dry_run: dryRun });
        expect(answer).to.include({ code });
        expect(answer.error).to.match(/no uncordoned node outside the pool matches the pods/);
      }
      expect(countEffects(world.newWrites())).to.deep.equal({});
    });

    it(`${what}: refuses where it is not known what is free`, async () => {
      const world = new VirtualFailover({ environment: { ALLOWED_NAMESPACES: 'default,research' } });
      world.emulator.faults.add({
        method: 'GET',
        path: /research\/pods/,
        times: Infinity,
        effect: { status: 403 },
      });
      expect(await world.send({ ...restartOfTrain, ...fields })).to.include({ code });
      expect(countEffects(world.newWrites())).to.deep.equal({});
    });

    it(`${what}: restarts where a slice is free`, async () => {
      const world = new VirtualFailover();
      const { status, steps } = await world.send({ ...restartOfTrain, ...fields });
      expect(status).to.equal(200);
      expect(steps[1]).to.deep.include({ outcome: 'restarted', spare: { slices: 1, needed: 1 } });
    });
  }

  it('is no condition by default: the run waits, and the answer says so', async () => {
    const world = new VirtualFailover(oneSlice);
    const { steps } = await world.send({ ...restartOfTrain, when_no_spare: 'restart' });
    expect(steps[1]).to.deep.include({ outcome: 'restarted', spare: { slices: 0, needed: 1 } });
    expect(steps[1]?.['warning']).to.match(/so the JobSet will wait for capacity$/);
  });
});

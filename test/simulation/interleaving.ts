import fc from 'fast-check';
import type { ActionType } from '../../src/action-type.ts';

/** What is sent; requests of the same action have the same id and body. */
export interface InterleavedAction {
  type: ActionType;
  /** Which slice; for a restart, undefined names the JobSet only. */
  pool: string | undefined;
  /** Name a node of the slice too, by its index. */
  node: number | undefined;
}

/** What happens to the world, or to the instances, at a time. */
export type Disturbance = { at: number } & (
  | { kind: 'freeze'; instance: number; ms: number }
  | { kind: 'crash'; instance: number }
  | {
      kind: 'person_cordons' | 'person_uncordons' | 'person_takes_over' | 'node_dies' | 'machine_replaced';
      pool: string;
      node: number;
    }
);

/** One random run: everything that is left to chance in it follows from this value. */
export interface Interleaving {
  seed: number;
  backoffLimit: number;
  /** Child Jobs of the JobSet, each on a slice of its own. */
  replicas: number;
  /** How often the cluster's controllers make a step. */
  controllersMs: number;
  /** How long it is quiet before each action is sent once more. */
  pauseMs: number;
  actions: InterleavedAction[];
  /** When which action is sent to which instance. */
  requests: { at: number; action: number; instance: number }[];
  disturbances: Disturbance[];
  /** How far each instance's clock is off, in ms. */
  skews: number[];
  /** Of how many requests, in per mille, something befalls. */
  faultsPerMille: number;
  slowPerMille: number;
}

export const pools = ['slice-a', 'slice-b', 'slice-c', 'slice-d'];
export const nodesPerPool = 4;
const instances = 3;

const instance = fc.nat(instances - 1);
const pool = fc.constantFrom(...pools.slice(0, 2));
const node = fc.nat(nodesPerPool - 1);

const action: fc.Arbitrary<InterleavedAction> = fc.record({
  type: fc.constantFrom<ActionType[]>(
    'cordon_nodepool',
    'cordon_nodepool_and_restart_jobset',
    'cordon_nodepool_and_restart_jobset',
    'cordon_and_repair_nodepool',
    'cordon_and_repair_nodepool',
    'repair_nodepool',
    'uncordon_nodepool',
  ),
  pool: fc.option(pool, { nil: undefined, freq: 4 }),
  node: fc.option(node, { nil: undefined, freq: 2 }),
});

/** Most things happen within the first seconds, where they meet; some minutes later. */
const moment = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: 0, max: 800 }) },
  { weight: 3, arbitrary: fc.integer({ min: 0, max: 5_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 400_000 }) },
);

const disturbance: fc.Arbitrary<Disturbance> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      at: moment,
      kind: fc.constant('freeze' as const),
      instance,
      ms: fc.integer({ min: 1_000, max: 300_000 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ at: moment, kind: fc.constant('crash' as const), instance }) },
  {
    weight: 4,
    arbitrary: fc.record({
      at: moment,
      kind: fc.constantFrom(
        'person_cordons' as const,
        'person_uncordons' as const,
        'person_takes_over' as const,
        'node_dies' as const,
        'machine_replaced' as const,
      ),
      pool,
      node,
    }),
  },
);

const parts = {
  seed: fc.nat(),
  backoffLimit: fc.constantFrom(0, 6),
  replicas: fc.constantFrom(1, 2),
  controllersMs: fc.constantFrom(500, 5_000),
  pauseMs: fc.constantFrom(75_000, 75_000, 300_000),
  actions: fc.array(action, { minLength: 1, maxLength: 4 }),
  requests: fc.array(fc.record({ at: moment, action: fc.nat(3), instance }), { minLength: 1, maxLength: 8 }),
  disturbances: fc.array(disturbance, { maxLength: 5 }),
  skews: fc.array(fc.integer({ min: -120_000, max: 120_000 }), {
    minLength: instances,
    maxLength: instances,
  }),
  faultsPerMille: fc.constantFrom(0, 30, 150),
  slowPerMille: fc.constantFrom(0, 50),
};

const soon = fc.integer({ min: 0, max: 1_500 });
const requestsSoon = fc.array(fc.record({ at: soon, action: fc.nat(3), instance }), {
  minLength: 2,
  maxLength: 6,
});

/** Several slices of one JobSet turn bad at once. */
const storms = fc.record({
  ...parts,
  replicas: fc.constant(2),
  controllersMs: fc.constant(5_000),
  actions: fc.array(
    fc.record({
      type: fc.constant('cordon_nodepool_and_restart_jobset' as const),
      pool,
      node: fc.constant(undefined),
    }),
    { minLength: 2, maxLength: 4 },
  ),
  requests: requestsSoon,
});

/** Repairs die half-way, and are taken up again when the machines have long been replaced. */
const lateResumptions = fc.record({
  ...parts,
  pauseMs: fc.constant(7_200_000),
  actions: fc.array(
    fc.record({
      type: fc.constantFrom('cordon_and_repair_nodepool' as const, 'repair_nodepool' as const),
      pool,
      node: fc.option(node, { nil: undefined }),
    }),
    { minLength: 1, maxLength: 2 },
  ),
  requests: requestsSoon,
  disturbances: fc.array(fc.record({ at: soon, kind: fc.constant('crash' as const), instance }), {
    minLength: 1,
    maxLength: 5,
  }),
});

const onSliceA = { pool: fc.constant('slice-a'), node: fc.constant(undefined) };

/** People cordon and uncordon while a pool is cordoned, and before it is uncordoned again. */
const undos = fc.record({
  ...parts,
  actions: fc.tuple(
    fc.record({ type: fc.constant('cordon_nodepool' as const), ...onSliceA }),
    fc.record({ type: fc.constant('uncordon_nodepool' as const), ...onSliceA }),
  ),
  requests: fc.tuple(
    fc.record({ at: soon, action: fc.constant(0), instance }),
    fc.record({ at: fc.integer({ min: 1_500, max: 9_000 }), action: fc.constant(1), instance }),
  ),
  disturbances: fc.array(
    fc.record({
      at: fc.integer({ min: 0, max: 6_000 }),
      kind: fc.constantFrom(
        'person_cordons' as const,
        'person_uncordons' as const,
        'person_takes_over' as const,
      ),
      pool: fc.constant('slice-a'),
      node,
    }),
    { minLength: 1, maxLength: 4 },
  ),
});

export const interleavings: fc.Arbitrary<Interleaving> = fc.oneof(
  { weight: 3, arbitrary: fc.record(parts) },
  { weight: 1, arbitrary: storms },
  { weight: 1, arbitrary: lateResumptions },
  { weight: 1, arbitrary: undos },
);

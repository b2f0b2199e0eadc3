import fc from 'fast-check';
import type { ActionType, FollowUpType } from '../../src/action-type.ts';

/** What is sent; requests of the same action have the same id and body. */
export interface InterleavedAction {
  type: ActionType;
  /** Which slice; for a restart, undefined names the JobSet only. */
  pool: string | undefined;
  /** Name a node of the slice too, by its index. */
  node: number | undefined;
  /** An incident asks for it. */
  incident?: PlannedIncident | undefined;
  /** What follows where the restart does not help. */
  onFailure?: FollowUpType | undefined;
  uncordonWhenRepaired?: boolean;
  /** How long the pods of the attempt get to end. */
  graceSeconds?: number | undefined;
  /** Its plan needs the approval of somebody else. */
  needsApproval?: boolean;
}

export interface PlannedIncident {
  /** When it began, in ms from the start of the run. */
  startedAt: number;
  uncordonsOnClose: boolean;
  /** What its resource is: the node or pool that the action names, the machine of the node, or the JobSet. */
  names: 'target' | 'machine' | 'jobset';
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
  | { kind: 'person_uncordons_pool' | 'nodes_return' | 'slice_recreated' | 'run_fails'; pool: string }
  | { kind: 'person_pauses' | 'cordons_denied'; ms: number }
  | { kind: 'gke_works'; pool: string; operation: string; ms: number }
  | { kind: 'clock_jumps'; instance: number; ms: number }
  // Each PUT of a Lease is answered with a conflict.
  | { kind: 'leases_conflict'; ms: number }
  | { kind: PoolTrouble; pool: string; ms: number }
);

/** What is wrong with a pool for a while. */
export type PoolTrouble =
  | 'deletions_come_to_nothing'
  | 'gke_repairs_by_itself'
  | 'machines_are_withheld'
  | 'chips_are_dead'
  | 'hosts_stay'
  | 'machines_are_drained';

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
  /** When which action, or the close of its incident, is sent to which instance. */
  requests: { at: number; action: number; instance: number; isClose?: boolean }[];
  disturbances: Disturbance[];
  /** How far each instance's clock is off, in ms. */
  skews: number[];
  /** Of how many requests, in per mille, something befalls. */
  faultsPerMille: number;
  slowPerMille: number;
  /** The same, of the requests that delete something; these then mostly come to nothing. */
  failedDeletionsPerMille?: number;
  /** Slices that a person has cordoned before, so that the run stays where it is. */
  closedPools?: readonly string[];
  /** Whether a restart makes its Jobs anew one by one, or only once all old ones are gone. */
  restartStrategy?: 'Recreate' | 'BlockingRecreate';
  /** How many pools may be acted on within the hour; 4 unless it is said. */
  maxPools?: number;
  /** When which instance is told to reconcile. With any, everything must be settled at last. */
  reconciles?: { at: number; instance: number }[];
  /** Once the faults stop, nobody sends anything again, and reconcile alone ends what is open. */
  endsByReconcile?: boolean;
  /** Settings other than the usual ones. */
  settings?: Record<string, string>;
  /** The pods of the run use their grace, and this is how long it is, in seconds; otherwise they end at once. */
  podGraceSeconds?: number;
  /** At last a new incident must cordon and release slice-a, whatever was left there. */
  endsWithNewIncident?: boolean;
}

export const pools = ['slice-a', 'slice-b', 'slice-c', 'slice-d'];
/** Independent machines, of which one may be repaired without the others. */
export const gpuPool = 'gpu-a';
export const nodesPerPool = 4;
const instances = 3;

export const instance = fc.nat(instances - 1);
export const pool = fc.constantFrom(...pools.slice(0, 2));
export const node = fc.nat(nodesPerPool - 1);

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

export const disturbance: fc.Arbitrary<Disturbance> = fc.oneof(
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

export const parts = {
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

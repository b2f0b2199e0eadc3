import fc from 'fast-check';
import { effectsOf } from '../../src/action-type.ts';
import type { ActionType } from '../../src/action-type.ts';
import { disturbance, gpuPool, instance, node, parts, pool, pools } from './interleaving.ts';
import type { Disturbance, InterleavedAction, Interleaving, PlannedIncident } from './interleaving.ts';

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

/** An incident that is as old as the run. */
const withTheRun: PlannedIncident = { startedAt: 0, uncordonsOnClose: false, names: 'target' };

/** Deletions fail and instances die beside them, so that marks are left for which nothing was deleted. */
const marksWithoutDeeds = fc.record({
  ...parts,
  replicas: fc.constant(2),
  pauseMs: fc.constantFrom(0, 75_000, 300_000),
  failedDeletionsPerMille: fc.constantFrom(500, 900, 1000),
  actions: fc.array(
    fc.record({
      type: fc.constantFrom(
        'cordon_nodepool_and_restart_jobset' as const,
        'cordon_and_repair_nodepool' as const,
        'repair_nodepool' as const,
      ),
      pool,
      node: fc.option(node, { nil: undefined }),
      incident: fc.option(fc.constant(withTheRun), { nil: undefined, freq: 2 }),
    }),
    { minLength: 2, maxLength: 4 },
  ),
  requests: fc.array(fc.record({ at: fc.integer({ min: 0, max: 60_000 }), action: fc.nat(3), instance }), {
    minLength: 2,
    maxLength: 6,
  }),
});

/** Something happens to slice-a or slice-b between two times, in ms from the start. */
function happens(
  kind: 'nodes_return' | 'slice_recreated' | 'run_fails' | 'person_uncordons_pool',
  min: number,
  max: number,
): fc.Arbitrary<Disturbance> {
  return fc.record({ at: fc.integer({ min, max }), kind: fc.constant(kind), pool });
}

function nodeDies(max: number, of = pool): fc.Arbitrary<Disturbance> {
  return fc.record({
    at: fc.integer({ min: 0, max }),
    kind: fc.constant('node_dies' as const),
    pool: of,
    node,
  });
}

function incident(
  startedAt: fc.Arbitrary<number>,
  uncordonsOnClose: fc.Arbitrary<boolean> = fc.constant(false),
): fc.Arbitrary<PlannedIncident> {
  const names = fc.constantFrom('target' as const, 'target' as const, 'machine' as const, 'jobset' as const);
  return fc.record({ startedAt, uncordonsOnClose, names });
}

const someNode = fc.option(node, { nil: undefined, freq: 2 });

/** A slice breaks and is whole again, its run restarts by itself, and only then the alerts come, or come again. */
const lateAlerts = fc
  .record({
    ...parts,
    pauseMs: fc.constantFrom(0, 75_000, 300_000),
    // Where no other slice is open, the run comes back to the one that has recovered.
    closedPools: fc.constantFrom([], ['slice-b', 'slice-c', 'slice-d'], ['slice-c', 'slice-d']),
    // A restart may wait for a pod on a dead node.
    restartStrategy: fc.constantFrom('Recreate' as const, 'BlockingRecreate' as const),
    slowPerMille: fc.constantFrom(0, 50, 300),
    failedDeletionsPerMille: fc.constantFrom(0, 0, 1000),
    actions: fc.array(
      fc.record({
        type: fc.constantFrom<ActionType[]>(
          'cordon_nodepool_and_restart_jobset',
          'cordon_nodepool_and_restart_jobset',
          'cordon_and_repair_nodepool',
          'repair_nodepool',
          'cordon_nodepool',
        ),
        pool,
        node: someNode,
        incident: incident(
          fc.oneof(
            fc.constant(-60_000),
            fc.integer({ min: 0, max: 20_000 }),
            fc.integer({ min: 0, max: 100_000 }),
          ),
        ),
      }),
      { minLength: 1, maxLength: 3 },
    ),
    requests: fc.array(fc.record({ at: fc.integer({ min: 0, max: 180_000 }), action: fc.nat(2), instance }), {
      minLength: 1,
      maxLength: 6,
    }),
    breaks: fc.array(nodeDies(20_000), { minLength: 1, maxLength: 2 }),
    recoveries: fc.array(
      fc.oneof(
        happens('nodes_return', 10_000, 90_000),
        happens('slice_recreated', 10_000, 90_000),
        happens('run_fails', 1_000, 90_000),
      ),
      { minLength: 1, maxLength: 4 },
    ),
    // Plans are left whose cordon has not begun.
    denials: fc.array(
      fc.record({
        at: fc.integer({ min: 0, max: 20_000 }),
        kind: fc.constant('cordons_denied' as const),
        ms: fc.integer({ min: 5_000, max: 120_000 }),
      }),
      { maxLength: 1 },
    ),
    others: fc.array(disturbance, { maxLength: 2 }),
  })
  .map(({ breaks, recoveries, denials, others, ...rest }) => ({
    ...rest,
    disturbances: [...breaks, ...recoveries, ...denials, ...others],
  }));

/** Cordons are refused for a while, so that plans are left; when they are taken up again, much has happened. */
const resumesAfterRefusals = fc
  .record({
    ...parts,
    pauseMs: fc.constantFrom(75_000, 300_000, 1_800_000),
    maxPools: fc.constantFrom(1, 2, 4),
    actions: fc.array(
      fc.record({
        type: fc.constantFrom<ActionType[]>(
          'cordon_nodepool_and_restart_jobset',
          'cordon_and_repair_nodepool',
          'cordon_and_repair_nodepool',
          'repair_nodepool',
        ),
        pool: fc.constantFrom('slice-a', 'slice-b', gpuPool, gpuPool),
        node: fc.option(node, { nil: undefined, freq: 4 }),
        incident: fc.option(incident(fc.integer({ min: 0, max: 5_000 })), { nil: undefined, freq: 3 }),
      }),
      { minLength: 2, maxLength: 4 },
    ),
    requests: fc.array(fc.record({ at: fc.integer({ min: 0, max: 400_000 }), action: fc.nat(3), instance }), {
      minLength: 3,
      maxLength: 8,
    }),
    denial: fc.record({
      at: fc.integer({ min: 0, max: 5_000 }),
      kind: fc.constant('cordons_denied' as const),
      ms: fc.integer({ min: 1_000, max: 200_000 }),
    }),
    deaths: fc.array(nodeDies(5_000, fc.constantFrom('slice-a', 'slice-b', gpuPool, gpuPool)), {
      maxLength: 3,
    }),
    others: fc.array(
      fc.oneof(
        fc.record({
          at: fc.integer({ min: 0, max: 300_000 }),
          kind: fc.constant('person_pauses' as const),
          ms: fc.integer({ min: 1_000, max: 200_000 }),
        }),
        happens('slice_recreated', 1_000, 300_000),
        happens('nodes_return', 1_000, 300_000),
        happens('run_fails', 1_000, 300_000),
        disturbance,
      ),
      { maxLength: 4 },
    ),
  })
  .map(({ denial, deaths, others, ...rest }) => ({ ...rest, disturbances: [denial, ...deaths, ...others] }));

/** Closes never come, come twice, or come late, while people cordon and uncordon, and nodes come anew. */
const lostCloses = fc.record({
  ...parts,
  endsWithNewIncident: fc.constant(true),
  closedPools: fc.constantFrom([], pools.slice(1)),
  actions: fc.array(
    fc.record({
      type: fc.constantFrom<ActionType[]>(
        'cordon_nodepool',
        'cordon_nodepool',
        'cordon_nodepool_and_restart_jobset',
        'cordon_and_repair_nodepool',
      ),
      pool: fc.constantFrom('slice-a', 'slice-a', gpuPool),
      node: someNode,
      incident: fc.option(
        fc.record({
          startedAt: fc.integer({ min: 0, max: 5_000 }),
          uncordonsOnClose: fc.constantFrom(true, true, true, false),
          names: fc.constant('target' as const),
        }),
        { nil: undefined, freq: 5 },
      ),
    }),
    { minLength: 2, maxLength: 4 },
  ),
  requests: fc.array(
    fc.record({
      at: fc.oneof(fc.integer({ min: 0, max: 3_000 }), fc.integer({ min: 0, max: 120_000 })),
      action: fc.nat(3),
      instance,
      isClose: fc.boolean(),
    }),
    { minLength: 2, maxLength: 8 },
  ),
  disturbances: fc.array(
    fc.oneof(
      happens('person_uncordons_pool', 1_000, 120_000),
      happens('slice_recreated', 1_000, 120_000),
      happens('nodes_return', 1_000, 120_000),
      nodeDies(60_000, fc.constantFrom('slice-a', gpuPool)),
      disturbance,
    ),
    { maxLength: 4 },
  ),
});

/** GKE upgrades, repairs, resizes and deletes pools by itself, while machines die and repairs are asked for. */
const gkeAtWork = fc
  .record({
    ...parts,
    actions: fc.array(
      fc.record({
        type: fc.constantFrom<ActionType[]>(
          'cordon_and_repair_nodepool',
          'repair_nodepool',
          'cordon_nodepool_and_restart_jobset',
        ),
        pool: fc.constantFrom('slice-a', 'slice-b', gpuPool),
        node: someNode,
        incident: fc.option(incident(fc.integer({ min: 0, max: 5_000 })), { nil: undefined, freq: 3 }),
      }),
      { minLength: 1, maxLength: 4 },
    ),
    works: fc.array(
      fc.record({
        at: fc.integer({ min: 0, max: 10_000 }),
        kind: fc.constant('gke_works' as const),
        pool: fc.constantFrom('slice-a', 'slice-a', 'slice-b', gpuPool),
        operation: fc.constantFrom(
          'AUTO_REPAIR_NODES',
          'AUTO_REPAIR_NODES',
          'UPGRADE_NODES',
          'SET_NODE_POOL_SIZE',
          'DELETE_NODE_POOL',
        ),
        ms: fc.integer({ min: 500, max: 600_000 }),
      }),
      { minLength: 1, maxLength: 3 },
    ),
    deaths: fc.array(nodeDies(5_000, fc.constantFrom('slice-a', 'slice-b', gpuPool)), { maxLength: 2 }),
    others: fc.array(
      fc.oneof(
        happens('slice_recreated', 1_000, 300_000),
        fc.record({ at: soon, kind: fc.constant('crash' as const), instance }),
      ),
      { maxLength: 3 },
    ),
    // Where the answer is lost, the function does not know.
    faultsPerMille: fc.constant(0),
    slowPerMille: fc.constant(0),
  })
  .map(({ works, deaths, others, ...rest }) => ({ ...rest, disturbances: [...works, ...deaths, ...others] }));
const reconciles = fc.array(
  fc.record({
    at: fc.oneof(fc.integer({ min: 0, max: 5_000 }), fc.integer({ min: 0, max: 600_000 })),
    instance,
  }),
  { minLength: 1, maxLength: 8 },
);

/** A reconcile comes each minute, and sometimes a second one beside it. */
const everyMinute = (minutes: number) =>
  fc
    .array(fc.record({ instance, delay: fc.nat(3_000), isDouble: fc.boolean() }), {
      minLength: minutes,
      maxLength: minutes,
    })
    .map((each) =>
      each.flatMap(({ instance: by, delay, isDouble }, minute) => [
        { at: (minute + 1) * 60_000 + delay, instance: by },
        ...(isDouble ? [{ at: (minute + 1) * 60_000, instance: (by + 1) % 3 }] : []),
      ]),
    );

const shortTimeouts = {
  COOLDOWN_SECONDS: '600',
  RECOVERY_TIMEOUT_SECONDS: '120',
  REPAIR_TIMEOUT_SECONDS: '300',
  RESUME_WITHIN_SECONDS: '300',
};

/** Reconcile comes late and doubled beside requests and their redelivery, and ends what nobody sends again. */
const withReconcile = fc
  .record({
    ...parts,
    controllersMs: fc.constant(5_000),
    reconciles: fc.oneof(reconciles, everyMinute(7)),
    endsByReconcile: fc.boolean(),
    settings: fc.constant(shortTimeouts),
    closedPools: fc.constantFrom([], [], pools.slice(1)),
    failedDeletionsPerMille: fc.constantFrom(0, 0, 500, 1000),
    actions: fc.array(
      fc.record({
        type: fc.constantFrom<ActionType[]>(
          'cordon_nodepool_and_restart_jobset',
          'cordon_nodepool_and_restart_jobset',
          'cordon_and_repair_nodepool',
          'repair_nodepool',
          'cordon_nodepool',
        ),
        pool: fc.constantFrom('slice-a', 'slice-a', 'slice-b', gpuPool),
        node: someNode,
        incident: fc.option(
          fc.record({
            startedAt: fc.integer({ min: 0, max: 5_000 }),
            uncordonsOnClose: fc.boolean(),
            names: fc.constant('target' as const),
          }),
          { nil: undefined },
        ),
        follows: fc.boolean(),
      }),
      { minLength: 1, maxLength: 4 },
    ),
    requests: fc.array(
      fc.record({
        at: fc.oneof(fc.integer({ min: 0, max: 3_000 }), fc.integer({ min: 0, max: 400_000 })),
        action: fc.nat(3),
        instance,
      }),
      { minLength: 1, maxLength: 6 },
    ),
    others: fc.array(
      fc.oneof(
        disturbance,
        disturbance,
        happens('nodes_return', 60_000, 400_000),
        happens('run_fails', 1_000, 300_000),
        happens('person_uncordons_pool', 1_000, 400_000),
        fc.record({
          at: fc.integer({ min: 0, max: 300_000 }),
          kind: fc.constant('person_pauses' as const),
          ms: fc.integer({ min: 1_000, max: 200_000 }),
        }),
      ),
      { maxLength: 5 },
    ),
  })
  .map(({ actions, others, ...rest }) => ({
    ...rest,
    disturbances: others,
    actions: actions.map(({ follows, ...action }) => ({
      ...action,
      ...(follows ? toFollow(action.type) : {}),
    })),
  }));

function toFollow(type: ActionType): Partial<InterleavedAction> {
  const { restart, repair } = effectsOf[type];
  return {
    ...(restart ? { onFailure: 'repair_nodepool' as const } : {}),
    ...(restart || repair ? { uncordonWhenRepaired: true } : {}),
  };
}

/** Restarts whose pods take their time, and get less of it. */
const graces = fc
  .record({
    ...parts,
    podGraceSeconds: fc.constantFrom(5, 30, 120),
    reconciles: everyMinute(6),
    actions: fc.array(
      fc.record({
        type: fc.constant('cordon_nodepool_and_restart_jobset' as const),
        pool,
        node: someNode,
        graceSeconds: fc.constantFrom(undefined, 0, 0, 2, 30),
        incident: fc.option(fc.constant(withTheRun), { nil: undefined }),
      }),
      { minLength: 1, maxLength: 3 },
    ),
    others: fc.array(
      fc.oneof(
        disturbance,
        happens('run_fails', 0, 60_000),
        nodeDies(20_000),
        fc.record({
          at: fc.integer({ min: 0, max: 20_000 }),
          kind: fc.constant('person_pauses' as const),
          ms: fc.integer({ min: 1_000, max: 100_000 }),
        }),
      ),
      { maxLength: 4 },
    ),
  })
  .map(({ others, ...rest }) => ({ ...rest, disturbances: others }));

/** One alert after the other for the same JobSet, or the same pool: nothing that is done helps. */
const alertsWithoutEnd = fc
  .record({
    ...parts,
    controllersMs: fc.constant(5_000),
    pauseMs: fc.constant(75_000),
    reconciles: everyMinute(10),
    endsByReconcile: fc.boolean(),
    maxPools: fc.constant(1000),
    maxAttempts: fc.constantFrom('1', '2', '3'),
    // The promise of one deed a cooldown allows a minute between the mark and its deletion, so 60 s would hold nothing.
    cooldown: fc.constantFrom('60', '60', '150'),
    slowPerMille: fc.constantFrom(0, 50),
    failedDeletionsPerMille: fc.constantFrom(0, 0, 300),
    alerts: fc.array(
      fc.record({
        type: fc.constantFrom<ActionType[]>(
          'cordon_nodepool_and_restart_jobset',
          'cordon_nodepool_and_restart_jobset',
          'cordon_and_repair_nodepool',
          'repair_nodepool',
        ),
        pool: fc.option(pool, { nil: undefined, freq: 2 }),
        node: someNode,
        isDouble: fc.boolean(),
        instance,
        delay: fc.nat(70_000),
        isOfAlert: fc.boolean(),
        follows: fc.boolean(),
      }),
      { minLength: 4, maxLength: 9 },
    ),
    others: fc.array(fc.oneof(disturbance, happens('person_uncordons_pool', 60_000, 900_000)), {
      maxLength: 4,
    }),
  })
  .map(({ alerts, others, maxAttempts, cooldown, ...rest }) => ({
    ...rest,
    disturbances: others,
    settings: { ...shortTimeouts, COOLDOWN_SECONDS: cooldown, MAX_ATTEMPTS_PER_DAY: maxAttempts },
    actions: alerts.map(({ type, pool: of, node: on, delay, isOfAlert, follows }, index) => ({
      type,
      pool: of,
      node: on,
      incident: isOfAlert ? { ...withTheRun, startedAt: index * 80_000 + delay } : undefined,
      ...(follows ? toFollow(type) : {}),
    })),
    requests: alerts.flatMap(({ instance: by, delay, isDouble }, index) => {
      const at = index * 80_000 + delay + 1_000;
      const request = { at, action: index, instance: by };
      return isDouble ? [request, { ...request, at: at + 400, instance: (by + 1) % 3 }] : [request];
    }),
  }));

/** A person releases the pool that the run was moved from, and the run comes back, because there is no other place. */
const comebacks = fc
  .record({
    ...parts,
    replicas: fc.constant(1),
    controllersMs: fc.constant(5_000),
    closedPools: fc.constant(pools.slice(1)),
    actions: fc.array(
      fc.record({ type: fc.constant('cordon_nodepool_and_restart_jobset' as const), ...onSliceA }),
      { minLength: 2, maxLength: 4 },
    ),
    requests: fc.array(fc.record({ at: fc.integer({ min: 0, max: 500_000 }), action: fc.nat(3), instance }), {
      minLength: 2,
      maxLength: 6,
    }),
    releases: fc.array(happens('person_uncordons_pool', 10_000, 500_000), { minLength: 1, maxLength: 4 }),
    others: fc.array(disturbance, { maxLength: 1 }),
  })
  .map(({ releases, others, ...rest }) => ({
    ...rest,
    disturbances: [...releases.map((each) => ({ ...each, pool: 'slice-a' })), ...others],
  }));

const later = fc.oneof(fc.nat(5_000), fc.nat(400_000));
const anyPool = fc.constantFrom('slice-a', 'slice-a', 'slice-b', gpuPool);
const aWhile = fc.integer({ min: 1_000, max: 300_000 });
const poolTroubles = [
  'deletions_come_to_nothing',
  'gke_repairs_by_itself',
  'machines_are_withheld',
  'chips_are_dead',
  'hosts_stay',
  'machines_are_drained',
] as const;

/** Each fault that a swarm may have. */
const swarmFaults: Record<string, fc.Arbitrary<Disturbance>> = {
  usual: disturbance,
  clock_jumps: fc.record({
    at: later,
    kind: fc.constant('clock_jumps' as const),
    instance,
    ms: fc.integer({ min: 1_000, max: 7_200_000 }),
  }),
  leases_conflict: fc.record({ at: later, kind: fc.constant('leases_conflict' as const), ms: aWhile }),
  nodes_return: happens('nodes_return', 1_000, 400_000),
  slice_recreated: happens('slice_recreated', 1_000, 400_000),
  run_fails: happens('run_fails', 1_000, 400_000),
  person_uncordons_pool: happens('person_uncordons_pool', 1_000, 400_000),
  node_dies: nodeDies(300_000, anyPool),
  person_pauses: fc.record({ at: later, kind: fc.constant('person_pauses' as const), ms: aWhile }),
  cordons_denied: fc.record({ at: later, kind: fc.constant('cordons_denied' as const), ms: aWhile }),
  gke_works: fc.record({
    at: later,
    kind: fc.constant('gke_works' as const),
    pool: anyPool,
    operation: fc.constantFrom('AUTO_REPAIR_NODES', 'UPGRADE_NODES', 'SET_NODE_POOL_SIZE'),
    ms: aWhile,
  }),
  ...Object.fromEntries(
    poolTroubles.map((kind) => [
      kind,
      fc.record({ at: later, kind: fc.constant(kind), pool: anyPool, ms: aWhile }),
    ]),
  ),
};

/**
 * Each run draws which faults it has, and then has many of these: where all may happen in each run, the common ones hide what
 * few of them would do together.
 */
const swarm = fc
  .tuple(fc.subarray(Object.keys(swarmFaults), { minLength: 1, maxLength: 4 }), fc.boolean())
  .chain(([names, isReconciled]) =>
    fc.record({
      ...parts,
      settings: fc.constant(shortTimeouts),
      maxPools: fc.constantFrom(2, 4, 1000),
      actions: fc.array(
        fc
          .record({
            type: fc.constantFrom<ActionType[]>(
              'cordon_nodepool_and_restart_jobset',
              'cordon_nodepool_and_restart_jobset',
              'cordon_and_repair_nodepool',
              'repair_nodepool',
              'cordon_nodepool',
              'uncordon_nodepool',
            ),
            pool: anyPool,
            node: someNode,
            incident: fc.option(incident(fc.integer({ min: 0, max: 5_000 })), { nil: undefined, freq: 3 }),
            follows: fc.boolean(),
          })
          .map(({ follows, ...action }) => ({ ...action, ...(follows ? toFollow(action.type) : {}) })),
        { minLength: 1, maxLength: 4 },
      ),
      requests: fc.array(fc.record({ at: later, action: fc.nat(3), instance }), {
        minLength: 1,
        maxLength: 8,
      }),
      ...(isReconciled ? { reconciles: everyMinute(7), endsByReconcile: fc.boolean() } : {}),
      disturbances: fc.array(fc.oneof(...names.flatMap((name) => swarmFaults[name] ?? [])), {
        minLength: 1,
        maxLength: 8,
      }),
      failedDeletionsPerMille: fc.constantFrom(0, 0, 500),
    }),
  );

/** What is drawn, and how often. */
export const situations: Record<string, { weight: number; arbitrary: fc.Arbitrary<Interleaving> }> = {
  anything: { weight: 3, arbitrary: fc.record(parts) },
  storms: { weight: 1, arbitrary: storms },
  lateResumptions: { weight: 1, arbitrary: lateResumptions },
  undos: { weight: 1, arbitrary: undos },
  marksWithoutDeeds: { weight: 1, arbitrary: marksWithoutDeeds },
  lateAlerts: { weight: 2, arbitrary: lateAlerts },
  resumesAfterRefusals: { weight: 2, arbitrary: resumesAfterRefusals },
  lostCloses: { weight: 2, arbitrary: lostCloses },
  gkeAtWork: { weight: 2, arbitrary: gkeAtWork },
  withReconcile: { weight: 3, arbitrary: withReconcile },
  alertsWithoutEnd: { weight: 2, arbitrary: alertsWithoutEnd },
  graces: { weight: 2, arbitrary: graces },
  comebacks: { weight: 1, arbitrary: comebacks },
  swarm: { weight: 4, arbitrary: swarm },
};

export const interleavings: fc.Arbitrary<Interleaving> = fc.oneof(...Object.values(situations));

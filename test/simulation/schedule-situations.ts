import type { Bounds } from './explore.ts';
import type { InterleavedAction, PlannedIncident } from './interleaving.ts';
import type { Action } from '../../src/request/action.ts';
import { toClose } from './planned-action.ts';
import type { Situation } from './run-schedule.ts';
import type { Actor } from './turn-actor.ts';
import type { TurnWorld } from './turn-world.ts';

const onSliceA = { pool: 'slice-a', node: undefined } as const;
const restart: InterleavedAction = { type: 'cordon_nodepool_and_restart_jobset', ...onSliceA };
const repair: InterleavedAction = { type: 'cordon_and_repair_nodepool', ...onSliceA };
const cordon: InterleavedAction = { type: 'cordon_nodepool', ...onSliceA };

/** It began with the run, so that nothing that is there is newer. */
const incident: PlannedIncident = { startedAt: 0, uncordonsOnClose: true, names: 'target' };
const short = { RECOVERY_TIMEOUT_SECONDS: '60', REPAIR_TIMEOUT_SECONDS: '300', RESUME_WITHIN_SECONDS: '300' };

/** The same action is sent twice. */
function andRedelivery(name: string, planned: InterleavedAction): Situation {
  return {
    name: `${name} and its redelivery`,
    actors: (world) => [
      world.request(world.plan('a', planned), 'first'),
      world.request(world.plan('a', planned), 'second'),
    ],
    actions: (world) => [world.plan('a', planned)],
    finish: 'redelivery',
  };
}

/** An action that may have died before meets its redelivery, or a reconcile, beside a reconcile. */
function besideReconcile(
  name: string,
  planned: InterleavedAction,
  { isSentAgain = false, world = {} }: { isSentAgain?: boolean; world?: Situation['world'] } = {},
): Situation {
  return {
    name: `${name}, then ${isSentAgain ? 'its redelivery and a reconcile' : 'two reconciles'}`,
    world: { environment: short, ...world },
    before: (of) => of.request(of.plan('a', planned), 'before'),
    actors: (of) => [
      isSentAgain ? of.request(of.plan('a', planned), 'again') : of.reconcile('reconcile 1'),
      of.reconcile('reconcile 2'),
    ],
    actions: (of) => [of.plan('a', planned)],
    finish: 'reconcile',
  };
}

/** An action that runs while a reconcile comes. */
function andReconcile(name: string, planned: InterleavedAction): Situation {
  return {
    name: `${name} and a reconcile`,
    world: { environment: short },
    actors: (world) => [world.request(world.plan('a', planned)), world.reconcile('reconcile')],
    actions: (world) => [world.plan('a', planned)],
    finish: 'reconcile',
  };
}

function andPerson(
  name: string,
  planned: InterleavedAction,
  toPerson: (world: TurnWorld) => Actor,
): Situation {
  return {
    name,
    actors: (world) => [world.request(world.plan('a', planned)), toPerson(world)],
    actions: (world) => [world.plan('a', planned)],
    finish: 'redelivery',
  };
}

function twoIncidents(name: string, first: InterleavedAction, second: InterleavedAction): Situation {
  return {
    name,
    world: { deadNode: 'slice-a' },
    actors: (world) => [world.request(world.plan('a', first)), world.request(world.plan('b', second))],
    actions: (world) => [world.plan('a', first), world.plan('b', second)],
    finish: 'redelivery',
  };
}

/** An action waits for its approval, or its asker has died, while somebody approves it and something else happens. */
function andApproval(
  name: string,
  planned: InterleavedAction,
  toOther: (world: TurnWorld, waiting: Action) => Actor,
): Situation {
  const waiting = (world: TurnWorld) => world.plan('a', { ...planned, needsApproval: true });
  return {
    name,
    // An instance that is frozen for 75 s misses the end of it.
    world: { environment: { ...short, APPROVAL_TTL_SECONDS: '120' } },
    before: (world) => world.request(waiting(world), 'before'),
    actors: (world) => [world.decide('approve', waiting(world)), toOther(world, waiting(world))],
    actions: (world) => [waiting(world)],
    finish: 'reconcile',
  };
}

function andClose(name: string, planned: InterleavedAction): Situation {
  const asked = { ...planned, incident };
  return {
    name: `${name} and the close of its incident`,
    actors: (world) => [
      world.request(world.plan('a', asked)),
      world.request(toClose(world.plan('a', asked)), 'close'),
    ],
    actions: (world) => [world.plan('a', asked), toClose(world.plan('a', asked))],
    finish: 'redelivery',
  };
}

/** One restart a day is allowed, and one was begun before, so that the run is on the other slice, whatever came of it. */
const fromSliceB: InterleavedAction = { ...restart, pool: 'slice-b' };
const oneRestartADay: Situation = {
  name: 'two restarts, where a day allows one and one was begun',
  world: { environment: { ...short, MAX_ATTEMPTS_PER_DAY: '1', COOLDOWN_SECONDS: '0' } },
  before: (of) => of.request(of.plan('before', restart), 'before'),
  actors: (of) => [of.request(of.plan('a', fromSliceB)), of.request(of.plan('b', fromSliceB))],
  actions: (of) => [of.plan('before', restart), of.plan('a', fromSliceB), of.plan('b', fromSliceB)],
  finish: 'reconcile',
};

/** The slice is whole when the reconcile looks, and breaks again at any time until it is released. */
const repairedAndReleased: InterleavedAction = { ...repair, uncordonWhenRepaired: true };
const breaksAgain: Situation = {
  name: 'a slice that was repaired and breaks again, and a reconcile',
  world: { environment: short, keepsNodes: true },
  before: (of) => of.request(of.plan('a', repairedAndReleased), 'before'),
  afterMs: 210_000,
  actors: (of) => [of.reconcile('reconcile'), of.dyingMachine('slice-a')],
  actions: (of) => [of.plan('a', repairedAndReleased)],
  finish: 'reconcile',
};

/** Every pair of actors whose orders are explored. */
export const situations: Situation[] = [
  andRedelivery('a restart', restart),
  andRedelivery('a repair', repair),
  {
    ...andRedelivery('a restart with less grace', { ...restart, graceSeconds: 2 }),
    world: { replicas: 2, podGraceSeconds: 30, backoffLimit: 6 },
  },
  andReconcile('a restart', restart),
  andReconcile('a repair', repair),
  besideReconcile('a restart', restart),
  besideReconcile('a restart', restart, { isSentAgain: true }),
  besideReconcile('a repair', { ...repair, uncordonWhenRepaired: true }),
  besideReconcile('a repair', repair, { isSentAgain: true }),
  besideReconcile(
    'a restart that does not help',
    { ...restart, onFailure: 'repair_nodepool' },
    { world: { closedPools: ['slice-b'] } },
  ),
  besideReconcile('a restart that helps', { ...restart, onFailure: 'repair_nodepool' }),
  twoIncidents(
    'two incidents restart one slice',
    { ...restart, incident },
    { ...restart, incident, node: 1 },
  ),
  twoIncidents('two incidents repair one slice', { ...repair, incident }, { ...repair, incident, node: 1 }),
  {
    ...twoIncidents('two slices of one JobSet restart it', restart, { ...restart, pool: 'slice-b' }),
    world: { replicas: 2 },
  },
  twoIncidents('a restart and a repair of one slice', { ...restart, incident }, { ...repair, incident }),
  andClose('a cordon', cordon),
  andClose('a restart', restart),
  andApproval('a repair that waits, its approval and another one', repair, (world, action) =>
    world.decide('approve', action, 'second'),
  ),
  andApproval('a repair that waits, its approval and a rejection', repair, (world, action) =>
    world.decide('reject', action),
  ),
  andApproval('a repair that waits, its approval and its redelivery', repair, (world, action) =>
    world.request(action, 'again'),
  ),
  andApproval('a repair that waits, its approval and a reconcile', repair, (world) =>
    world.reconcile('reconcile'),
  ),
  andApproval('a repair that waits, its approval and a person who pauses', repair, (world) =>
    world.pausingPerson(),
  ),
  andApproval('a repair that waits, its approval and another repair', repair, (world) =>
    world.request(world.plan('b', repair)),
  ),
  andApproval('a restart that waits, its approval and another one', restart, (world, action) =>
    world.decide('approve', action, 'second'),
  ),
  andApproval('a restart that waits, its approval and a person who uncordons', restart, (world) =>
    world.cordoningPerson('slice-a', false),
  ),
  andPerson('a repair, and a person who cordons', repair, (world) => world.cordoningPerson('slice-a', true)),
  andPerson('a repair, and a person who uncordons', repair, (world) =>
    world.cordoningPerson('slice-a', false),
  ),
  andPerson('a restart, and a person who uncordons', restart, (world) =>
    world.cordoningPerson('slice-a', false),
  ),
  andPerson('a repair, and a person who pauses', repair, (world) => world.pausingPerson()),
  andPerson('a restart, and a person who pauses', restart, (world) => world.pausingPerson()),
  oneRestartADay,
  breaksAgain,
];

/** What every run of the tests explores, of these situations: one switch, or one fault. */
export const smallBounds: Bounds[] = [
  { switches: 1, freezes: 0, faults: 0 },
  { switches: 0, freezes: 0, faults: 1 },
];

export const smallSituations = [
  'a restart and its redelivery',
  'a repair and its redelivery',
  'a repair and a reconcile',
  'a repair, then two reconciles',
  'a repair, then its redelivery and a reconcile',
  'a restart, then two reconciles',
  'a cordon and the close of its incident',
  'a repair, and a person who pauses',
  oneRestartADay.name,
  'a repair that waits, its approval and a rejection',
  'a repair that waits, its approval and a reconcile',
];

/** All of it: two switches, one of which may take as long as a lock lasts, and one switch with one crash or lost answer. */
export const allBounds: Bounds[] = [
  { switches: 2, freezes: 1, faults: 0 },
  { switches: 1, freezes: 1, faults: 1 },
];

/** Two switches and a fault together: up to 450 s of CPU for one situation. */
export const deepBounds: Bounds[] = [{ switches: 2, freezes: 1, faults: 1 }];

import { describeFaults } from '../fixtures/fault-table.ts';
import type { FaultedCall } from '../fixtures/faulted-call.ts';
import {
  isEvent,
  isHolders,
  isMark,
  isNewLease,
  isPhase,
  isPoolList,
  isRelease,
  isSweep,
} from '../fixtures/faulted-request.ts';

const afterCordons = { cordons: 4 };
const afterRestart = { cordons: 4, restarts: 1 };
const afterRepair = { cordons: 4, repairs: 1 };

/** Every call from the first cordon on. What was done before the fault stays done, and is not done again. */
const rows: FaultedCall[] = [
  {
    title: 'cordon: the third of four nodes',
    action: 'restart',
    request: { method: 'PATCH', path: /\/nodes\//, skip: 2 },
    before: { cordons: 2 },
    // It is gone, or another one under its name; unless the next list still shows it.
    outcomes: { 'status 404': { lasting: 'upstream_failed' }, 'status 409': { lasting: 'upstream_failed' } },
  },
  {
    title: 'cordon: list what is schedulable now, directly before the deletion',
    action: 'restart',
    request: { method: 'GET', path: /\/nodes\?/, match: isPoolList('schedulable'), skip: 1 },
    before: afterCordons,
  },
  {
    title: 'uncordon: note it on the pool',
    action: 'uncordon',
    request: { method: 'PUT', path: /\/leases\/pool-/, match: isHolders, skip: 1 },
    outcomes: { 'status 404': 'conflict', 'status 409': 'conflict' },
  },
  {
    title: 'uncordon: release the third of four nodes',
    action: 'uncordon',
    request: { method: 'PATCH', path: /\/nodes\//, skip: 2 },
    before: { cordons: 2 },
  },
  {
    title: 'uncordon: list what is still cordoned',
    action: 'uncordon',
    request: { method: 'GET', path: /\/nodes\?/, match: isPoolList('cordoned'), skip: 1 },
    before: afterCordons,
  },
  {
    title: 'restart: read the mark of the last one',
    action: 'restart',
    request: { method: 'GET', path: /\/leases\/jobset-/, skip: 1 },
    before: afterCordons,
    outcomes: { 'status 404': 'harmless' },
  },
  {
    title: 'restart: read the JobSet again',
    action: 'restart',
    request: { method: 'GET', path: /\/jobsets\/train/, skip: 2 },
    before: afterCordons,
    effect: 'restarts',
    outcomes: { 'status 404': 'believed' },
  },
  {
    title: 'restart: list its Jobs again',
    action: 'restart',
    request: { method: 'GET', path: /\/jobs\?/, skip: 1 },
    before: afterCordons,
  },
  {
    title: 'restart: read the leader again',
    action: 'restart',
    request: { method: 'GET', path: /\/pods\?/, skip: 3 },
    before: afterCordons,
  },
  {
    title: 'restart: see whether a person has paused the cluster',
    action: 'restart',
    request: { method: 'GET', path: /\/leases\/cluster/, skip: 1 },
    before: afterCordons,
    outcomes: { 'status 404': 'harmless' },
  },
  {
    title: 'restart: mark the pool',
    action: 'restart',
    request: { method: 'PUT', path: /\/leases\/pool-/, match: isMark },
    before: afterCordons,
    // Once it has gone unanswered for so long that the lock may be lost, nothing is written any more.
    leavesLock: true,
    outcomes: { 'status 404': 'conflict', 'status 409': 'conflict' },
  },
  {
    title: 'restart: mark the JobSet',
    action: 'restart',
    request: { method: 'POST', path: /\/leases$/, match: isNewLease('jobset-') },
    before: afterCordons,
    outcomes: { 'status 409': 'conflict' },
  },
  {
    title: 'restart: delete the leader pod',
    action: 'restart',
    request: { method: 'DELETE', path: /\/pods\// },
    before: afterCordons,
    effect: 'restarts',
    // The leader is gone, but its Job is not failing: it is ended by its deadline.
    outcomes: { 'status 404': 'harmless', 'status 409': 'harmless' },
  },
  {
    title: 'restart: end the Job by its deadline',
    action: 'restart',
    backoffLimit: 6,
    request: { method: 'PATCH', path: /\/jobs\// },
    before: afterCordons,
    effect: 'restarts',
  },
  {
    title: 'restart: mark it as accepted on the pool',
    action: 'restart',
    request: { method: 'PUT', path: /\/leases\/pool-/, match: isMark, skip: 1 },
    before: afterRestart,
    outcomes: { 'status 404': 'conflict', 'status 409': 'conflict' },
  },
  {
    title: 'restart: mark it as accepted on the JobSet',
    action: 'restart',
    request: { method: 'PUT', path: /\/leases\/jobset-/ },
    before: afterRestart,
    outcomes: { 'status 404': 'conflict', 'status 409': 'conflict' },
  },
  {
    title: 'restart: list the pods that may hold it up',
    action: 'restart',
    hasDeadNode: true,
    request: { method: 'GET', path: /\/pods\?/, skip: 4 },
    before: afterRestart,
  },
  {
    title: 'restart: read the node of one of them',
    action: 'restart',
    hasDeadNode: true,
    request: { method: 'GET', path: /\/nodes\/gke-/, skip: 1 },
    before: afterRestart,
    outcomes: { 'status 404': 'harmless' },
  },
  {
    title: 'restart: delete the pod on a dead node',
    action: 'restart',
    hasDeadNode: true,
    request: { method: 'DELETE', path: /\/pods\//, skip: 1 },
    before: afterRestart,
    effect: 'restarts',
    outcomes: { 'status 404': 'believed', 'status 409': 'believed' },
    // While it lasts: the same id looks again, and frees the pod then (test/scenarios/held-up.test.ts).
    once: ['status 404', 'status 409'],
  },
  {
    title: 'repair: mark the pool',
    action: 'repair',
    request: { method: 'PUT', path: /\/leases\/pool-/, match: isMark },
    before: afterCordons,
    outcomes: { 'status 404': 'conflict', 'status 409': 'conflict' },
  },
  {
    title: 'repair: delete the instance',
    action: 'repair',
    request: { api: 'compute', method: 'DELETE' },
    before: afterCordons,
    effect: 'repairs',
    isTimed: false,
    outcomes: {
      // A condition on names may refuse an id; then it is tried by its name.
      'status 403': { lasting: 'upstream_failed' },
      'status 404': 'believed',
    },
  },
  {
    title: 'repair: mark it as accepted',
    action: 'repair',
    request: { method: 'PUT', path: /\/leases\/pool-/, match: isMark, skip: 1 },
    before: afterRepair,
    outcomes: { 'status 404': 'conflict', 'status 409': 'conflict' },
  },
  {
    title: 'record: write down that the JobSet was restarted',
    action: 'restart',
    request: { method: 'PUT', path: /\/leases\/action-/, match: isPhase('done') },
    before: afterRestart,
    // Another claim of the action has written it meanwhile.
    outcomes: { 'status 404': 'action_in_progress', 'status 409': 'action_in_progress' },
  },
  {
    title: 'record: write down that the machine was deleted',
    action: 'repair',
    request: { method: 'PUT', path: /\/leases\/action-/, match: isPhase('done') },
    before: afterRepair,
    outcomes: { 'status 404': 'action_in_progress', 'status 409': 'action_in_progress' },
  },
  {
    title: 'release: give the lock back',
    action: 'repair',
    request: { method: 'PUT', path: /\/leases\/pool-/, match: isRelease },
    always: 'harmless',
    // It expires by then.
    holdsUpMs: 61_000,
    leavesLock: true,
  },
  {
    title: 'announce: write the Event after',
    action: 'repair',
    request: { method: 'POST', path: /\/events$/, match: isEvent('FailoverActionSucceeded') },
    always: 'harmless',
    holdsUpMs: 6_000,
  },
  {
    title: 'sweep: say that it begins',
    action: 'repair',
    request: { method: 'PUT', path: /\/leases\/cluster/, match: isSweep },
    always: 'harmless',
    holdsUpMs: 11_000,
  },
  {
    title: 'read which hosts were repaired before',
    action: 'repair',
    request: { method: 'GET', path: /\/leases\?.*kind%3Dhost/ },
    always: 'harmless',
    holdsUpMs: 4_000,
  },
  {
    title: 'sweep: list the records',
    action: 'repair',
    request: { method: 'GET', path: /\/leases\?.*incident/ },
    always: 'harmless',
    holdsUpMs: 11_000,
  },
  {
    title: 'sweep: delete an old one',
    action: 'repair',
    request: { method: 'DELETE', path: /\/leases\// },
    always: 'harmless',
    holdsUpMs: 11_000,
  },
];

describe('a fault while something is done', () => {
  for (const row of rows) describeFaults(row);
});

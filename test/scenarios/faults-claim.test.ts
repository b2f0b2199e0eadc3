import { describeFaults } from '../fixtures/fault-table.ts';
import type { FaultedCall } from '../fixtures/faulted-call.ts';
import { isElsewhereList, isEvent, isNewLease, isPhase, isPoolList } from '../fixtures/faulted-request.ts';

/** Every call before the first cordon. While one of them fails, nothing is touched. */
const rows: FaultedCall[] = [
  {
    title: 'claim: look the id up',
    action: 'repair',
    request: { method: 'GET', path: /\/leases\/action-/ },
    outcomes: { 'status 404': 'harmless' },
  },
  {
    title: 'claim: read the JobSet that was named',
    action: 'restart',
    request: { method: 'GET', path: /\/jobsets\/train/ },
    outcomes: { 'status 404': 'target_not_found' },
  },
  {
    title: 'claim: list its pods, which say on which pool it runs',
    action: 'restart',
    request: { method: 'GET', path: /\/pods\?/ },
  },
  {
    title: 'claim: read the node of one of them',
    action: 'restart',
    request: { method: 'GET', path: /\/nodes\/gke-/ },
    // The node of another pod says it too.
    outcomes: { 'status 404': { lasting: 'target_ambiguous' } },
  },
  {
    title: 'claim: list the pool of that node',
    action: 'restart',
    request: { method: 'GET', path: /\/nodes\?/, match: isPoolList('all') },
  },
  {
    title: 'claim: create the record',
    action: 'repair',
    request: { method: 'POST', path: /\/leases$/, match: isNewLease('action-') },
    outcomes: { 'status 409': 'conflict' },
  },
  {
    title: 'claim: read the lock',
    action: 'repair',
    request: { method: 'GET', path: /\/leases\/pool-/ },
    outcomes: { 'status 404': 'conflict' },
  },
  {
    title: 'claim: take the lock',
    action: 'repair',
    request: { method: 'PUT', path: /\/leases\/pool-/ },
    leavesLock: true,
    outcomes: { 'status 404': 'conflict', 'status 409': 'conflict' },
  },
  {
    title: 'claim: take the lock of a pool that has none yet',
    action: 'repair',
    isNewPool: true,
    request: { method: 'POST', path: /\/leases$/, match: isNewLease('pool-') },
    leavesLock: true,
    outcomes: { 'status 409': 'conflict' },
  },
  {
    title: 'claim: read what the pool’s last holder left',
    action: 'repair',
    request: { method: 'GET', path: /\/leases\/action-/, skip: 1 },
    outcomes: { 'status 404': 'harmless' },
  },
  {
    title: 'read: the nodes that are schedulable',
    action: 'repair',
    request: { method: 'GET', path: /\/nodes\?/, match: isPoolList('schedulable') },
  },
  {
    title: 'read: the nodes that are cordoned',
    action: 'repair',
    request: { method: 'GET', path: /\/nodes\?/, match: isPoolList('cordoned') },
  },
  {
    title: 'read: the JobSet',
    action: 'restart',
    request: { method: 'GET', path: /\/jobsets\/train/, skip: 1 },
    outcomes: { 'status 404': 'target_not_found' },
  },
  {
    title: 'read: what a person has set for the cluster',
    action: 'repair',
    request: { method: 'GET', path: /\/leases\/cluster/ },
    outcomes: { 'status 404': 'conflict' },
  },
  {
    title: 'decide: read the mark of the JobSet’s last restart',
    action: 'restart',
    request: { method: 'GET', path: /\/leases\/jobset-/ },
    outcomes: { 'status 404': 'harmless' },
  },
  {
    title: 'decide: list its Jobs',
    action: 'restart',
    request: { method: 'GET', path: /\/jobs\?/ },
  },
  {
    title: 'decide: list its pods',
    action: 'restart',
    request: { method: 'GET', path: /\/pods\?/, skip: 1 },
  },
  {
    title: 'decide: list where else its pods could run',
    action: 'restart',
    request: { method: 'GET', path: /\/nodes\?/, match: isElsewhereList },
  },
  {
    title: 'decide: list the pool with its health',
    action: 'repair',
    request: { method: 'GET', path: /\/nodes\?/, match: isPoolList('all') },
  },
  {
    title: 'decide: ask Compute whether the machine is a replacement',
    action: 'repair',
    hasDeadNode: true,
    request: { api: 'compute', method: 'GET' },
    isTimed: false,
    // It may not ask, or is told that there is no machine: the deletion by id cannot hit another one.
    outcomes: { 'status 401': 'harmless', 'status 403': 'harmless', 'status 404': 'harmless' },
  },
  {
    title: 'announce: write the Event before',
    action: 'repair',
    request: { method: 'POST', path: /\/events$/, match: isEvent('FailoverActionTriggered') },
    always: 'harmless',
    holdsUpMs: 6_000,
  },
  {
    title: 'budget: count the pool',
    action: 'repair',
    request: { method: 'PUT', path: /\/leases\/cluster/ },
    outcomes: { 'status 404': 'conflict', 'status 409': 'conflict' },
  },
  {
    title: 'plan: write it down',
    action: 'repair',
    request: { method: 'PUT', path: /\/leases\/action-/, match: isPhase('planned') },
    // Another claim of the action has written it meanwhile.
    outcomes: { 'status 404': 'action_in_progress', 'status 409': 'action_in_progress' },
  },
];

describe('a fault before anything is touched', () => {
  for (const row of rows) describeFaults(row);
});

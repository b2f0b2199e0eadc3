import { resolveCluster } from '../cluster-name.ts';
import type { ClusterName } from '../cluster-name.ts';
import { FailoverError, invalidAction } from '../errors.ts';
import { isObject, parseFields, proseField, textField } from './fields.ts';

/** Who approves the plan of an action. */
export interface Approver {
  /** The e-mail address of the caller that IAM let in. */
  caller: string;
  /** What that caller says about who asks. */
  requestor: string;
  /** The hash of the plan that was approved. */
  plan: string;
}

/** What a person decides about an action that waits for approval. */
export interface Decision {
  type: (typeof decisionTypes)[number];
  /** Of the action. */
  id: string;
  /** The hash of the plan. Whoever rejects need not name it. */
  plan: string | undefined;
  requestor: string;
  reason: string | undefined;
  /** The clusters that may have the action. */
  clusters: ClusterName[];
}

/** The types of a body that decides about an action instead of being one. */
export const decisionTypes = ['approve', 'reject'] as const;

/**
 * Parses a body that approves or rejects. Undefined for any other body.
 *
 * @throws {FailoverError} `invalid_action`; for a cluster that is not configured as `resolveCluster` does
 */
export function parseDecision(body: unknown, clusters: ClusterName[]): Decision | undefined {
  const type = isObject(body) ? decisionTypes.find((known) => known === body['type']) : undefined;
  if (type === undefined) return undefined;
  const { id, plan, requestor, reason, cluster } = parseFields(decisionFields, body, '');
  if (id === undefined) throw invalidAction('id is required: the id of the action');
  if (requestor === undefined) throw invalidAction('requestor is required');
  if (type === 'approve' && plan === undefined) {
    throw invalidAction('plan is required: the hash of the plan that you approve');
  }
  return {
    type,
    id,
    plan,
    requestor,
    reason,
    clusters: cluster === undefined ? clusters : [resolveCluster(cluster, clusters)],
  };
}

/** Google's services say so when they call by themselves. A caller that sends one of these is refused, and nothing more. */
const headersOfTasks = [
  'x-cloudtasks-queuename',
  'x-cloudtasks-taskname',
  'x-cloudscheduler',
  'x-cloudscheduler-jobname',
  'ce-type',
];

const agentsOfTasks = /^(?:Google-Cloud-(?:Tasks|Scheduler)|APIs-Google|CloudPubSub-Google)\b/;

/**
 * Refuses a decision that a task, a schedule or an event sends: a person decides.
 *
 * @param header reads a header of the request
 * @throws {FailoverError} `forbidden`
 */
export function assertNotFromTask(header: (name: string) => string | undefined): void {
  const isTask =
    headersOfTasks.some((name) => header(name) !== undefined) ||
    agentsOfTasks.test(header('user-agent') ?? '');
  if (isTask) throw new FailoverError('forbidden', 'a task, a schedule or an event cannot approve or reject');
}

const decisionFields = {
  type: textField({ max: 128, rule: 'must be approve or reject' }),
  id: textField({
    max: 160,
    pattern: /^[A-Za-z0-9._-]+$/,
    rule: 'must have 1 to 160 characters of A-Z a-z 0-9 . _ -',
  }),
  plan: textField({
    max: 64,
    pattern: /^[0-9a-f]{64}$/,
    rule: 'must be the hash of a plan: 64 hexadecimal digits',
  }),
  requestor: proseField(256),
  reason: proseField(1024),
  cluster: textField({
    max: 200,
    pattern: /^[a-z0-9.:/-]+$/,
    rule: 'must be projects/P/locations/L/clusters/C, or its last part',
  }),
};

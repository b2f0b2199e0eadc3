import { createHash, randomUUID } from 'node:crypto';
import { actionTypes, effectsOf, faults, followUpTypes, repairWays, spareWishes } from '../action-type.ts';
import type { ActionType, Effects, Fault, FollowUpType, LabelWay, WhenNoSpare } from '../action-type.ts';
import { resolveCluster } from '../cluster-name.ts';
import type { ClusterName } from '../cluster-name.ts';
import { invalidAction } from '../errors.ts';
import { dnsLabel } from '../names.ts';
import { suggestName } from '../nearest-name.ts';
import { booleanField, objectField, parseFields, proseField, textField, wholeNumberField } from './fields.ts';
import type { Approver } from './decision.ts';
import type { Incident } from './incident.ts';
import { parseRepair } from './repair-way.ts';
import { acceptRule, parseRelease } from './release.ts';
import { parseSpare } from './spare.ts';

/** What a caller asks for, checked. Absent fields are undefined. docs/api.md describes the fields. */
export interface Action {
  id: string;
  /** True if the caller sent no id, so that no record of the action can exist yet. */
  isIdGenerated?: boolean;
  dryRun: boolean;
  requestor: string;
  reason: string;
  type: ActionType;
  /** What the type does. */
  effects: Effects;
  namespace: string;
  jobSetName: string | undefined;
  nodePool: string | undefined;
  nodeName: string | undefined;
  expectedNodeCounts: boolean;
  cluster: ClusterName;
  /** What is done on the same pool if the run is not back in time after a restart. */
  onFailure?: FollowUpType | undefined;
  /** Spare capacity for the next attempt is a condition. */
  requiresSpare?: boolean;
  /** What is done where there is no spare capacity; undefined to restart all the same. */
  whenNoSpare?: WhenNoSpare | undefined;
  /** The label that asks GKE for the repair; undefined for a deletion. */
  repair?: LabelWay | undefined;
  /** What is wrong with the host that is reported. */
  fault?: Fault | undefined;
  /** Once the machine is back, this function's cordons of the pool are released. */
  uncordonWhenRepaired?: boolean;
  /** The test that the pool must pass before: the name of a node label, or of a CronJob. */
  accept?: string | undefined;
  /** The seconds that the pods of the restarted attempt get to end; undefined leaves them their own. */
  restartGraceSeconds?: number | undefined;
  /** Nothing but the plan is made until another principal has approved that plan. */
  approval?: 'required' | undefined;
  /** Who approves the plan of the action now. */
  approver?: Approver;
  /** The e-mail address of the caller that IAM let in, as its token says. */
  caller?: string | undefined;
  /** The incident of the Cloud Monitoring alert; undefined for an action that a caller sent. */
  incident?: Incident;
  /** Its sender sends it again until it is answered with success. */
  isRedelivered?: boolean;
  /** The action whose verdict asked for this one. */
  followUpOf?: { id: string; isOfAlert: boolean };
}

/** True if no person asks for the action now: an alert does, or the verdict of an alert's action. */
export function isFromAlert({
  incident,
  followUpOf,
}: {
  incident?: object | undefined;
  followUpOf?: { isOfAlert: boolean } | undefined;
}): boolean {
  return incident !== undefined || followUpOf?.isOfAlert === true;
}

/** True if the action may repair a machine: its type does, or it does so where there is no spare capacity. */
export function mayRepair({ effects, whenNoSpare }: Pick<Action, 'effects' | 'whenNoSpare'>): boolean {
  return effects.repair || (effects.restart && whenNoSpare === 'repair');
}

/**
 * Parses the JSON value of a request's body into an action on one of the configured clusters.
 *
 * `null` means absent, and so does `""` unless the field is a boolean: `"dry_run": ""` must not run live. Unknown fields
 * are refused for the same reason.
 *
 * @param generatedId the action's id if the body has none
 * @throws {FailoverError} `invalid_action`, in the earlier controller's words if it had this check; `forbidden` or
 *   `target_not_found` for a cluster that is not configured
 */
export function parseAction(body: unknown, clusters: ClusterName[], generatedId: string): Action {
  const fields = parseTypedFields(body);
  const { type, jobset_name: jobSetName, node_pool: nodePool, node_name: nodeName } = fields;
  if (type === 'cordon_nodepool_and_restart_jobset') {
    if (jobSetName === undefined) throw invalidAction(`jobset_name is required for ${type} action`);
  } else if (nodePool === undefined && nodeName === undefined) {
    throw invalidAction(`node_pool or node_name is required for ${type} action`);
  }
  return { ...toAction(fields, clusters, generatedId), isIdGenerated: fields.id === undefined };
}

/**
 * Parses the action of an alert. Unlike a caller's action, it may leave the target to be looked up in the cluster.
 *
 * @throws {FailoverError} as {@link parseAction} does
 */
export function parseActionOfAlert(body: unknown, clusters: ClusterName[], id: string): Action {
  return toAction(parseTypedFields(body), clusters, id);
}

function parseTypedFields(body: unknown) {
  const fields = parseFields(actionFields, body, '');
  const { requestor, reason } = fields;
  if (requestor === undefined) throw invalidAction('requestor is required');
  if (reason === undefined) throw invalidAction('reason is required');
  if (fields.type === undefined) throw invalidAction(`type is required, one of ${actionTypes.join(', ')}`);
  const type = actionTypes.find((known) => known === fields.type);
  if (type === undefined) {
    throw invalidAction(`unknown action type: ${fields.type}${suggestName(fields.type, actionTypes)}`);
  }
  return { ...fields, requestor, reason, type, onFailure: parseOnFailure(fields.on_failure, type) };
}

function parseOnFailure(given: string | undefined, type: ActionType): FollowUpType | undefined {
  if (given === undefined) return undefined;
  const onFailure = followUpTypes.find((known) => known === given);
  if (onFailure === undefined) {
    throw invalidAction(
      `on_failure must be one of ${followUpTypes.join(', ')}${suggestName(given, followUpTypes)}`,
    );
  }
  if (effectsOf[type].restart) return onFailure;
  throw invalidAction(`on_failure is for an action that restarts, and ${type} does not`);
}

function parseRestartGrace(given: number | undefined, type: ActionType): number | undefined {
  if (given === undefined || effectsOf[type].restart) return given;
  throw invalidAction(`restart_grace_seconds is for an action that restarts, and ${type} does not`);
}

function parseApproval(given: string | undefined): boolean {
  if (given !== undefined && given !== 'required') throw invalidAction('approval can only be required');
  return given !== undefined;
}

function toAction(
  fields: ReturnType<typeof parseTypedFields>,
  clusters: ClusterName[],
  generatedId: string,
): Action {
  const restartGraceSeconds = parseRestartGrace(fields.restart_grace_seconds, fields.type);
  const preflight = parseFields(preflightFields, fields.preflight_checks ?? {}, 'preflight_checks');
  const wishes = { spareCapacity: preflight.spare_capacity, whenNoSpare: fields.when_no_spare };
  const spare = parseSpare(wishes, fields.type);
  const release = { uncordonWhenRepaired: fields.uncordon_when_repaired, accept: fields.accept };
  return {
    id: fields.id ?? generatedId,
    dryRun: fields.dry_run ?? false,
    requestor: fields.requestor,
    reason: fields.reason,
    type: fields.type,
    effects: effectsOf[fields.type],
    namespace: fields.namespace ?? 'default',
    jobSetName: fields.jobset_name,
    nodePool: fields.node_pool,
    nodeName: fields.node_name,
    expectedNodeCounts: preflight.expected_node_counts ?? false,
    cluster: resolveCluster(fields.cluster, clusters),
    ...parseRepair(fields, fields.type),
    ...(restartGraceSeconds !== undefined && { restartGraceSeconds }),
    ...spare,
    ...(fields.onFailure && { onFailure: fields.onFailure }),
    ...(parseApproval(fields.approval) && { approval: 'required' }),
    ...parseRelease(release, { ...fields, whenNoSpare: spare.whenNoSpare }),
  };
}

/** Finds the id in a body, even in one that is not valid JSON, so that the answer can carry it. Else generates one. */
export function readId(rawBody: string): string {
  const found = /"id"\s*:\s*"([A-Za-z0-9._-]{1,128})"/.exec(rawBody.slice(0, 65_536));
  return found?.[1] ?? randomUUID();
}

/**
 * Hashes the fields that say what an action does, so that one id cannot stand for two actions. `reason` and `requestor`
 * don't count, because a redelivery may word them differently.
 *
 * @returns 32 hexadecimal digits
 */
export function hashAction(action: Action): string {
  const { type, namespace, jobSetName, nodePool, nodeName, expectedNodeCounts, cluster, incident } = action;
  const { onFailure, uncordonWhenRepaired = false, repair, fault, restartGraceSeconds, approval } = action;
  const { requiresSpare = false, whenNoSpare, accept } = action;
  const parts = [type, namespace, jobSetName, nodePool, nodeName, expectedNodeCounts, cluster.fullName];
  const added = [
    ...(incident?.subject ? [incident.subject] : []),
    // Absent, they leave the hash as earlier versions made it.
    ...(onFailure !== undefined || uncordonWhenRepaired ? [{ onFailure, uncordonWhenRepaired }] : []),
    ...(repair === undefined ? [] : [{ repair, fault }]),
    ...(restartGraceSeconds === undefined ? [] : [{ restartGraceSeconds }]),
    ...(requiresSpare || whenNoSpare !== undefined ? [{ requiresSpare, whenNoSpare }] : []),
    ...(approval === undefined ? [] : [{ approval }]),
    ...(accept === undefined ? [] : [{ accept }]),
  ];
  return createHash('sha256')
    .update(JSON.stringify([...parts, ...added]))
    .digest('hex')
    .slice(0, 32);
}

const dnsSubdomain = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/** An hour is longer than a checkpoint takes to save. */
export const mostGraceSeconds = 3600;

const actionFields = {
  id: textField({
    max: 128,
    pattern: /^[A-Za-z0-9._-]+$/,
    rule: 'must have 1 to 128 characters of A-Z a-z 0-9 . _ -',
  }),
  dry_run: booleanField(),
  requestor: proseField(256),
  reason: proseField(1024),
  type: textField({ max: 128, rule: 'must have 1 to 128 characters' }),
  namespace: textField({ max: 63, pattern: dnsLabel, rule: 'must be the name of a Kubernetes namespace' }),
  jobset_name: textField({ max: 63, pattern: dnsLabel, rule: 'must be the name of a JobSet' }),
  node_pool: textField({ max: 63, pattern: dnsLabel, rule: 'must be the name of one node pool' }),
  node_name: textField({ max: 253, pattern: dnsSubdomain, rule: 'must be the name of one Kubernetes node' }),
  preflight_checks: objectField(),
  on_failure: textField({ max: 128, rule: `must be one of ${followUpTypes.join(', ')}` }),
  uncordon_when_repaired: booleanField(),
  accept: textField({ max: 317, rule: acceptRule }),
  restart_grace_seconds: wholeNumberField({ max: mostGraceSeconds, unit: 'seconds' }),
  when_no_spare: textField({ max: 128, rule: `must be one of ${spareWishes.join(', ')}` }),
  repair: textField({ max: 128, rule: `must be one of ${repairWays.join(', ')}` }),
  approval: textField({ max: 128, rule: 'can only be required' }),
  fault: textField({ max: 128, rule: `must be one of ${faults.join(', ')}` }),
  cluster: textField({
    max: 200,
    pattern: /^[a-z0-9.:/-]+$/,
    rule: 'must be projects/P/locations/L/clusters/C, or its last part',
  }),
};

const preflightFields = { expected_node_counts: booleanField(), spare_capacity: booleanField() };

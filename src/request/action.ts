import { createHash, randomUUID } from 'node:crypto';
import * as v from 'valibot';
import { actionTypes, effectsOf } from '../action-type.ts';
import type { ActionType, Effects } from '../action-type.ts';
import { resolveCluster } from '../cluster-name.ts';
import type { ClusterName } from '../cluster-name.ts';
import { invalidAction } from '../errors.ts';
import { isPlainObject, parseFields, proseField, textField, booleanField } from './fields.ts';
import type { Incident } from './incident.ts';

/** What a caller asks for, checked; absent fields are undefined. */
export interface Action {
  id: string;
  /** The caller sent no id, so that there can be no record of it yet. */
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
  /** What a Cloud Monitoring alert was about; undefined for an action that somebody sent. */
  incident?: Incident;
}

/**
 * Parses the JSON value of a request's body into an action on one of the configured clusters.
 *
 * `null` and `""` mean absent, but for the booleans only `null` does: `"dry_run": ""` must not run live. Unknown fields
 * are refused, for the same reason.
 *
 * @param generatedId is the action's id when the body has none
 * @throws {FailoverError} `invalid_action`, with the old controller's texts where it had one; `forbidden` or
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
 * Parses an action whose target may be left to be looked up, as an alert's may.
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
  if (type === undefined) throw invalidAction(`unknown action type: ${fields.type}`);
  return { ...fields, requestor, reason, type };
}

function toAction(
  fields: ReturnType<typeof parseTypedFields>,
  clusters: ClusterName[],
  generatedId: string,
): Action {
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
    expectedNodeCounts:
      parseFields(preflightFields, fields.preflight_checks ?? {}, 'preflight_checks').expected_node_counts ??
      false,
    cluster: resolveCluster(fields.cluster, clusters),
  };
}

/** Finds the id that a body, however broken, was sent with, so that the answer can carry it; else makes one. */
export function readId(rawBody: string): string {
  const found = /"id"\s*:\s*"([A-Za-z0-9._-]{1,128})"/.exec(rawBody.slice(0, 65_536));
  return found?.[1] ?? randomUUID();
}

/**
 * Hashes what an action is to do, so that one id cannot stand for two things. `reason` and `requestor` don't count: a
 * redelivery may word them differently.
 */
export function hashAction(action: Action): string {
  const { type, namespace, jobSetName, nodePool, nodeName, expectedNodeCounts, cluster, incident } = action;
  const parts = [type, namespace, jobSetName, nodePool, nodeName, expectedNodeCounts, cluster.fullName];
  return createHash('sha256')
    .update(JSON.stringify(incident?.subject ? [...parts, incident.subject] : parts))
    .digest('hex')
    .slice(0, 32);
}

const dnsLabel = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const dnsSubdomain = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
// oxlint-disable-next-line no-control-regex -- control characters are what it keeps out of logs and Events
const actionFields = {
  id: textField(1, 128, /^[A-Za-z0-9._-]+$/, 'must have 1 to 128 characters of A-Z a-z 0-9 . _ -'),
  dry_run: booleanField(),
  requestor: proseField(256),
  reason: proseField(1024),
  type: textField(1, 128),
  namespace: textField(1, 63, dnsLabel, 'must be the name of a Kubernetes namespace'),
  jobset_name: textField(1, 63, dnsLabel, 'must be the name of a JobSet'),
  node_pool: textField(1, 63, dnsLabel, 'must be the name of one node pool'),
  node_name: textField(1, 253, dnsSubdomain, 'must be the name of one Kubernetes node'),
  preflight_checks: v.nullish(
    v.custom<Record<string, unknown>>((value) => isPlainObject(value), 'must be an object'),
  ),
  cluster: textField(
    1,
    200,
    /^[a-z0-9.:/-]+$/,
    'must be projects/P/locations/L/clusters/C, or its last part',
  ),
};

const preflightFields = { expected_node_counts: booleanField() };

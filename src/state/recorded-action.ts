import * as v from 'valibot';
import { actionTypes, effectsOf, faults, followUpTypes, labelWays, recordedWishes } from '../action-type.ts';
import type { ClusterName } from '../cluster-name.ts';
import type { Action } from '../request/action.ts';

/** An action as its record stores it, beside what the record has in annotations of its own. */
export type RecordedAction = v.InferOutput<typeof recordedActionSchema>;

const subjectSchema = v.variant('kind', [
  v.object({ kind: v.literal('pod'), namespace: v.string(), podName: v.string() }),
  v.object({ kind: v.literal('instance'), instanceId: v.string(), zone: v.string() }),
  v.object({ kind: v.literal('jobset') }),
]);

const incidentSchema = v.object({
  id: v.string(),
  startedAt: v.number(),
  isRenotification: v.boolean(),
  isClosed: v.boolean(),
  uncordonsOnClose: v.boolean(),
  subject: v.optional(subjectSchema),
  displayName: v.string(),
  namespace: v.optional(v.string()),
});

export const recordedActionSchema = v.object({
  namespace: v.string(),
  jobSetName: v.optional(v.string()),
  nodePool: v.optional(v.string()),
  nodeName: v.optional(v.string()),
  expectedNodeCounts: v.boolean(),
  onFailure: v.optional(v.picklist(followUpTypes)),
  uncordonWhenRepaired: v.optional(v.boolean()),
  accept: v.optional(v.string()),
  requiresSpare: v.optional(v.boolean()),
  whenNoSpare: v.optional(v.picklist(recordedWishes)),
  repair: v.optional(v.picklist(labelWays)),
  fault: v.optional(v.picklist(faults)),
  restartGraceSeconds: v.optional(v.number()),
  approval: v.optional(v.literal('required')),
  caller: v.optional(v.string()),
  incident: v.optional(incidentSchema),
  followUpOf: v.optional(v.object({ id: v.string(), isOfAlert: v.boolean() })),
});

/** The parts of an action that are stored as one JSON object. */
export function toRecordedAction(action: Action): RecordedAction {
  return {
    namespace: action.namespace,
    jobSetName: action.jobSetName,
    nodePool: action.nodePool,
    nodeName: action.nodeName,
    expectedNodeCounts: action.expectedNodeCounts,
    onFailure: action.onFailure,
    uncordonWhenRepaired: action.uncordonWhenRepaired,
    accept: action.accept,
    requiresSpare: action.requiresSpare,
    whenNoSpare: action.whenNoSpare,
    repair: action.repair,
    fault: action.fault,
    restartGraceSeconds: action.restartGraceSeconds,
    approval: action.approval,
    caller: action.caller,
    incident: action.incident,
    followUpOf: action.followUpOf,
  };
}

/** Makes the action of a record, so that it can be carried on without its sender. Undefined for an unknown type. */
export function fromRecordedAction(
  stored: RecordedAction,
  { id, type, requestor, reason }: { id: string; type: string; requestor: string; reason: string },
  cluster: ClusterName,
): Action | undefined {
  const known = actionTypes.find((each) => each === type);
  if (known === undefined) return undefined;
  const { incident, followUpOf } = stored;
  return {
    id,
    dryRun: false,
    requestor,
    reason,
    type: known,
    effects: effectsOf[known],
    namespace: stored.namespace,
    jobSetName: stored.jobSetName,
    nodePool: stored.nodePool,
    nodeName: stored.nodeName,
    expectedNodeCounts: stored.expectedNodeCounts,
    cluster,
    onFailure: stored.onFailure,
    uncordonWhenRepaired: stored.uncordonWhenRepaired ?? false,
    ...(stored.accept !== undefined && { accept: stored.accept }),
    ...(stored.requiresSpare !== undefined && { requiresSpare: stored.requiresSpare }),
    whenNoSpare: stored.whenNoSpare,
    repair: stored.repair,
    fault: stored.fault,
    restartGraceSeconds: stored.restartGraceSeconds,
    approval: stored.approval,
    caller: stored.caller,
    ...(incident && { incident: { ...incident, subject: incident.subject, namespace: incident.namespace } }),
    ...(followUpOf && { followUpOf }),
  };
}

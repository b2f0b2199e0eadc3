import { invalid, invalidValue, requiredValue } from './api-status.ts';
import type { StatusCause } from './api-status.ts';
import type { ClusterState } from './cluster-state.ts';
import { findMetadataCauses } from './metadata-rules.ts';
import { findCondition, isConditionTrue, isEqualJson, isJsonObject } from './objects.ts';
import type { Event, Job, JobSet, KubernetesObject, Lease, Node, Pod, PodSpec } from './objects.ts';
import type { Resource } from './resources.ts';

type Causes = Required<StatusCause>[];

/** Fills in the defaults of a new object and validates it. @throws ApiStatus 400 or 422 */
export function admitCreate(state: ClusterState, resource: Resource, draft: KubernetesObject): void {
  const causes = findMetadataCauses(draft.metadata);
  if (causes.length > 0) throw invalid(resource, draft.metadata.name, causes);
  switch (resource.plural) {
    case 'nodes':
      return admitNode(draft as Node);
    case 'pods':
      return admitPod(state, resource, draft as Pod);
    case 'jobs':
      return admitJob(state, resource, draft as Job);
    case 'jobsets':
      return admitJobSet(resource, draft as JobSet);
    case 'leases':
      return assertLease(resource, draft as Lease);
    case 'events':
      return assertEvent(resource, draft as Event);
    case 'cronjobs':
      return;
    case 'namespaces':
      draft['spec'] = { finalizers: ['kubernetes'] };
      draft['status'] = { phase: 'Active' };
      draft.metadata.labels = {
        ...draft.metadata.labels,
        'kubernetes.io/metadata.name': draft.metadata.name,
      };
      return;
  }
}

/** Validates a changed object and drops what the API server would not keep. @throws ApiStatus 400 or 422 */
export function admitUpdate(resource: Resource, before: KubernetesObject, draft: KubernetesObject): void {
  const causes = findMetadataCauses(draft.metadata);
  if (resource.plural === 'leases') assertLease(resource, draft as Lease);
  if (resource.plural === 'nodes') normaliseNode(draft as Node);
  if (resource.plural === 'jobs') causes.push(...findJobChanges(before as Job, draft as Job));
  if (resource.plural === 'jobsets') {
    defaultJobSet(draft as JobSet);
    assertPoliciesKept(resource, before as JobSet, draft as JobSet);
    causes.push(...findJobSetChanges(before as JobSet, draft as JobSet));
  }
  if (resource.plural === 'pods' && (before as Pod).spec.nodeName !== (draft as Pod).spec.nodeName) {
    causes.push({
      reason: 'FieldValueForbidden',
      message: 'Forbidden: pod updates may not change fields other than `spec.containers[*].image`',
      field: 'spec',
    });
  }
  if (causes.length > 0) throw invalid(resource, draft.metadata.name, causes);
}

/** Removes `unschedulable: false`, because in Go a bool with omitempty is absent if it is false. */
export function normaliseNode(draft: Node): void {
  if (isJsonObject(draft.spec) && draft.spec.unschedulable === false) delete draft.spec.unschedulable;
}

/** The defaults that the JobSet webhook and the Job API give a Job's spec; `defaults` come from a JobSet or not. */
export function defaultJobSpec(spec: Job['spec']): void {
  spec.parallelism ??= 1;
  spec.completionMode ??= 'NonIndexed';
  spec.completions ??= spec.parallelism;
  spec.backoffLimit ??= 6;
  spec.suspend ??= false;
  spec.podReplacementPolicy ??= spec.podFailurePolicy ? 'Failed' : 'TerminatingOrFailed';
  defaultPodSpec(spec.template.spec);
}

function admitNode(draft: Node): void {
  draft.spec ??= {};
  draft.status ??= {} as Node['status'];
  normaliseNode(draft);
}

/** Fills in the defaults that each pod gets, a controller's pods included. */
export function defaultPodSpec(spec: PodSpec): void {
  spec.restartPolicy ??= 'Always';
  spec.terminationGracePeriodSeconds ??= 30;
  spec['dnsPolicy'] ??= 'ClusterFirst';
  spec['schedulerName'] ??= 'default-scheduler';
  spec['securityContext'] ??= {};
}

export function addDefaultTolerations(spec: PodSpec): void {
  spec.tolerations ??= [];
  for (const key of ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable']) {
    if (!spec.tolerations.some((each) => each.key === key)) {
      spec.tolerations.push({ key, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 });
    }
  }
  for (const key of ['google.com/tpu', 'nvidia.com/gpu']) {
    if (spec.containers.some((each) => each.resources?.limits?.[key] ?? each.resources?.requests?.[key])) {
      if (!spec.tolerations.some((each) => each.key === key)) {
        spec.tolerations.push({ key, operator: 'Exists', effect: 'NoSchedule' });
      }
    }
  }
}

function admitPod(_state: ClusterState, resource: Resource, draft: Pod): void {
  if (!draft.spec?.containers?.length) {
    throw invalid(resource, draft.metadata.name, [requiredValue('spec.containers')]);
  }
  defaultPodSpec(draft.spec);
  addDefaultTolerations(draft.spec);
  draft.status = { phase: 'Pending', qosClass: 'BestEffort' };
}

function admitJob(state: ClusterState, resource: Resource, draft: Job): void {
  if (!draft.spec?.template?.spec?.containers?.length) {
    throw invalid(resource, draft.metadata.name, [requiredValue('spec.template.spec.containers')]);
  }
  defaultJobSpec(draft.spec);
  draft.metadata.uid ||= state.random.uuid();
  draft.metadata.generation = 1;
  const labels = {
    'batch.kubernetes.io/controller-uid': draft.metadata.uid,
    'batch.kubernetes.io/job-name': draft.metadata.name,
    'controller-uid': draft.metadata.uid,
    'job-name': draft.metadata.name,
  };
  draft.spec.selector = { matchLabels: { 'batch.kubernetes.io/controller-uid': draft.metadata.uid } };
  const { metadata } = draft.spec.template;
  draft.spec.template.metadata = { ...metadata, labels: { ...metadata?.labels, ...labels } };
  draft.status = {};
}

function admitJobSet(resource: Resource, draft: JobSet): void {
  if (!draft.spec?.replicatedJobs?.length) {
    throw invalid(resource, draft.metadata.name, [requiredValue('spec.replicatedJobs')]);
  }
  defaultJobSet(draft);
  draft.metadata.generation = 1;
  draft.status = {};
}

/** Fills in defaults on each write, because a client's list without them must not count as a change. */
function defaultJobSet({ spec }: JobSet): void {
  spec.suspend ??= false;
  spec.successPolicy ??= { operator: 'All' };
  spec['startupPolicy'] ??= { startupPolicyOrder: 'AnyOrder' };
  spec['network'] ??= { enableDNSHostnames: true, publishNotReadyAddresses: true };
  if (spec.failurePolicy) {
    spec.failurePolicy.maxRestarts ??= 0;
    spec.failurePolicy.restartStrategy ??= 'Recreate';
    for (const [index, rule] of (spec.failurePolicy.rules ?? []).entries()) {
      rule.name ||= `failurePolicyRule${index}`;
    }
  }
  for (const replicatedJob of spec.replicatedJobs) {
    replicatedJob.replicas ??= 1;
    replicatedJob.groupName ??= 'default';
    replicatedJob.template.spec.completionMode ??= 'Indexed';
    replicatedJob.template.spec.template.spec.restartPolicy ??= 'OnFailure';
  }
}

function assertLease(resource: Resource, draft: Lease): void {
  draft.spec ??= {};
  const causes: Causes = [];
  const { leaseDurationSeconds, leaseTransitions } = draft.spec;
  if (leaseDurationSeconds !== undefined && leaseDurationSeconds <= 0) {
    causes.push(invalidValue('spec.leaseDurationSeconds', leaseDurationSeconds, 'must be greater than 0'));
  }
  if (leaseTransitions !== undefined && leaseTransitions < 0) {
    causes.push(
      invalidValue('spec.leaseTransitions', leaseTransitions, 'must be greater than or equal to 0'),
    );
  }
  if (causes.length > 0) throw invalid(resource, draft.metadata.name, causes);
}

function assertEvent(resource: Resource, draft: Event): void {
  const causes: Causes = [];
  const namespace = draft.metadata.namespace ?? '';
  const about = draft.involvedObject?.namespace ?? '';
  if (about === '' ? namespace !== '' && namespace !== 'default' : namespace !== about) {
    causes.push(invalidValue('involvedObject.namespace', about, 'does not match event.namespace'));
  }
  if (draft.eventTime) causes.push(...findEventTimeCauses(draft));
  if (causes.length > 0) throw invalid(resource, draft.metadata.name, causes);
}

/** Checks the rules of the newer Events API, which apply to an Event with an eventTime. */
function findEventTimeCauses(draft: Event): Causes {
  const causes: Causes = [];
  for (const field of ['reportingComponent', 'reportingInstance', 'action', 'reason'] as const) {
    const value = draft[field];
    if (typeof value !== 'string' || value === '') causes.push(requiredValue(field));
    else if (field !== 'reportingComponent' && value.length > 128) {
      causes.push(invalidValue(field, '', 'can have at most 128 characters'));
    }
  }
  if ((draft.message ?? '').length > 1024) {
    causes.push(invalidValue('message', '', 'can have at most 1024 characters'));
  }
  return causes;
}

function findJobChanges(before: Job, draft: Job): Causes {
  const causes: Causes = [];
  const immutable = ['template', 'selector', 'completions', 'podFailurePolicy', 'completionMode'] as const;
  for (const field of immutable) {
    if (!isEqualJson(before.spec[field], draft.spec[field])) {
      causes.push(invalidValue(`spec.${field}`, draft.spec[field] ?? null, 'field is immutable'));
    }
  }
  for (const field of ['activeDeadlineSeconds', 'backoffLimit', 'parallelism'] as const) {
    const value = draft.spec[field];
    if (value !== undefined && (!Number.isInteger(value) || value < 0)) {
      causes.push(invalidValue(`spec.${field}`, value, 'must be greater than or equal to 0'));
    }
  }
  const conditions = draft.status?.conditions;
  if (isConditionTrue(conditions, 'Failed') && !isConditionTrue(conditions, 'FailureTarget')) {
    causes.push(
      invalidValue(
        'status.conditions',
        findCondition(conditions, 'Failed'),
        'cannot set Failed=True condition without the FailureTarget=true condition',
      ),
    );
  }
  return causes;
}

/**
 * Refuses a change to a policy, as the rule `self == oldSelf` in JobSet's CustomResourceDefinition does. The rule compares
 * two values, so adding a policy and removing one are allowed. It comes before the webhook, which then is not asked.
 * @throws ApiStatus 422
 */
function assertPoliciesKept(resource: Resource, before: JobSet, draft: JobSet): void {
  const causes: Causes = [];
  for (const field of ['failurePolicy', 'successPolicy'] as const) {
    const [old, wanted] = [before.spec[field], draft.spec[field]];
    if (old && wanted && !isEqualJson(old, wanted)) {
      const message = 'Invalid value: Value is immutable';
      causes.push({ reason: 'FieldValueInvalid', message, field: `spec.${field}` });
    }
  }
  if (causes.length > 0) throw invalid(resource, draft.metadata.name, causes);
}

/** While a JobSet is not suspended, its Jobs may hardly change. */
function findJobSetChanges(before: JobSet, draft: JobSet): Causes {
  const causes: Causes = [];
  if (!isEqualJson(before.spec.managedBy, draft.spec.managedBy)) {
    causes.push(invalidValue('spec.managedBy', draft.spec.managedBy ?? null, 'field is immutable'));
  }
  const isSuspended = before.spec.suspend && draft.spec.suspend;
  if (!isSuspended && !isEqualJson(before.spec.replicatedJobs, draft.spec.replicatedJobs)) {
    causes.push(invalidValue('spec.replicatedJobs', '…', 'field is immutable'));
  }
  return causes;
}

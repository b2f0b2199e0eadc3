import { isConditionTrue } from './objects.ts';
import type { Event, Job, JobSet, KubernetesObject, Lease, Node, Pod } from './objects.ts';
import type { Resource } from './resources.ts';

interface Column {
  name: string;
  type: 'string';
  /** 0 is always shown, a larger number only with `kubectl get -o wide`. */
  priority: number;
  cell: (object: KubernetesObject, now: number) => unknown;
}

/** The table that `kubectl get` prints. */
export function toTable(
  resource: Resource,
  objects: KubernetesObject[],
  metadata: object,
  options: { now: number; includeObject: string | null; withoutHeaders?: boolean },
): unknown {
  const columns = columnsByKind[resource.plural];
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata,
    columnDefinitions: options.withoutHeaders
      ? null
      : columns.map(({ name, type, priority }) => ({
          name,
          type,
          format: name === 'Name' ? 'name' : '',
          description: '',
          priority,
        })),
    rows: objects.map((object) => ({
      cells: columns.map((column) => column.cell(object, options.now)),
      ...(options.includeObject !== 'None' && {
        object:
          options.includeObject === 'Object'
            ? object
            : { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: object.metadata },
      }),
    })),
  };
}

// The type parameter is what a resource's columns read; the tables below pair them rightly.
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters
function column<T extends KubernetesObject>(
  name: string,
  cell: (object: T, now: number) => unknown,
  priority = 0,
): Column {
  return { name, type: 'string', priority, cell: cell as Column['cell'] };
}

const nameColumn = column('Name', (object) => object.metadata.name);
const age = column('Age', (object, now) => toAge(object.metadata.creationTimestamp, now));

const columnsByKind: Record<Resource['plural'], Column[]> = {
  namespaces: [
    nameColumn,
    column('Status', (object) => (object['status'] as { phase?: string })?.phase),
    age,
  ],
  nodes: [
    nameColumn,
    column<Node>('Status', toNodeStatus),
    column('Roles', () => '<none>'),
    age,
    column<Node>('Version', (node) => node.status.nodeInfo?.['kubeletVersion'] ?? ''),
    column<Node>('Internal-IP', (node) => addressOf(node, 'InternalIP'), 1),
    column<Node>('External-IP', (node) => addressOf(node, 'ExternalIP'), 1),
    column<Node>('OS-Image', (node) => node.status.nodeInfo?.['osImage'] ?? '<unknown>', 1),
    column<Node>('Kernel-Version', (node) => node.status.nodeInfo?.['kernelVersion'] ?? '<unknown>', 1),
    column<Node>(
      'Container-Runtime',
      (node) => node.status.nodeInfo?.['containerRuntimeVersion'] ?? '<unknown>',
      1,
    ),
  ],
  pods: [
    nameColumn,
    column<Pod>('Ready', (pod) => {
      const ready = isConditionTrue(pod.status.conditions, 'Ready') ? pod.spec.containers.length : 0;
      return `${ready}/${pod.spec.containers.length}`;
    }),
    column<Pod>('Status', (pod) => (pod.metadata.deletionTimestamp ? 'Terminating' : toPodStatus(pod))),
    column('Restarts', () => '0'),
    age,
    column<Pod>('IP', (pod) => pod.status.podIP ?? '<none>', 1),
    column<Pod>('Node', (pod) => pod.spec.nodeName ?? '<none>', 1),
    column('Nominated Node', () => '<none>', 1),
    column('Readiness Gates', () => '<none>', 1),
  ],
  jobs: [
    nameColumn,
    column<Job>('Status', toJobStatus),
    column<Job>('Completions', (job) => `${job.status.succeeded ?? 0}/${job.spec.completions ?? 1}`),
    column<Job>('Duration', (job, now) => {
      if (!job.status.startTime) return '';
      const end = job.status.completionTime ? Date.parse(job.status.completionTime) : now;
      return toAge(job.status.startTime, end);
    }),
    age,
  ],
  cronjobs: [
    nameColumn,
    column('Schedule', (object) => (object['spec'] as { schedule?: string })?.schedule),
    age,
  ],
  leases: [nameColumn, column<Lease>('Holder', (lease) => lease.spec.holderIdentity ?? ''), age],
  jobsets: [
    nameColumn,
    column<JobSet>('TerminalState', (jobSet) => jobSet.status.terminalState ?? null),
    column<JobSet>('Restarts', (jobSet) => jobSet.status.restarts ?? null),
    column<JobSet>('Completed', (jobSet) => completedStatus(jobSet)),
    column<JobSet>('Suspended', (jobSet) => jobSet.spec.suspend ?? null),
    age,
  ],
  events: [
    column<Event>('Last Seen', (event, now) =>
      toAge(event.lastTimestamp ?? event.metadata.creationTimestamp, now),
    ),
    column<Event>('Type', (event) => event.type ?? ''),
    column<Event>('Reason', (event) => event.reason ?? ''),
    column<Event>('Object', (event) => {
      const { kind = '', name = '' } = event.involvedObject;
      return `${kind.toLowerCase()}/${name}`;
    }),
    column<Event>('Subobject', (event) => event.involvedObject['fieldPath'] ?? '', 1),
    column<Event>('Source', (event) => event.source?.component ?? '', 1),
    column<Event>('Message', (event) => event.message?.trim() ?? ''),
    column<Event>('First Seen', (event, now) => toAge(event.firstTimestamp ?? '', now), 1),
    column<Event>('Count', (event) => event.count ?? 1, 1),
    column('Name', (object) => object.metadata.name, 1),
  ],
};

/** As kubectl's HumanDuration: two units while that says something. */
export function toAge(since: string, now: number): string {
  const start = Date.parse(since);
  if (Number.isNaN(start)) return '<unknown>';
  const seconds = Math.floor((now - start) / 1000);
  if (seconds < -1) return '<invalid>';
  if (seconds < 0) return '0s';
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return seconds % 60 === 0 ? `${minutes}m` : `${minutes}m${seconds % 60}s`;
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 8) return minutes % 60 === 0 ? `${hours}h` : `${hours}h${minutes % 60}m`;
  if (hours < 48) return `${hours}h`;
  const days = Math.floor(hours / 24);
  if (days < 8) return hours % 24 === 0 ? `${days}d` : `${days}d${hours % 24}h`;
  return `${days}d`;
}

function toNodeStatus(node: Node): string {
  const isReady = isConditionTrue(node.status.conditions, 'Ready');
  return `${isReady ? 'Ready' : 'NotReady'}${node.spec.unschedulable ? ',SchedulingDisabled' : ''}`;
}

function addressOf(node: Node, type: string): string {
  return node.status.addresses?.find((each) => each.type === type)?.address ?? '<none>';
}

function toPodStatus(pod: Pod): string {
  if (pod.status.phase === 'Failed') return pod.status.reason ?? 'Error';
  return pod.status.phase === 'Succeeded' ? 'Completed' : pod.status.phase;
}

function toJobStatus(job: Job): string {
  const { conditions } = job.status;
  if (isConditionTrue(conditions, 'Complete')) return 'Complete';
  if (isConditionTrue(conditions, 'Failed')) return 'Failed';
  if (job.metadata.deletionTimestamp) return 'Terminating';
  if (isConditionTrue(conditions, 'Suspended')) return 'Suspended';
  if (isConditionTrue(conditions, 'FailureTarget')) return 'FailureTarget';
  return isConditionTrue(conditions, 'SuccessCriteriaMet') ? 'SuccessCriteriaMet' : 'Running';
}

function completedStatus(jobSet: JobSet): string | null {
  return jobSet.status.conditions?.find((each) => each.type === 'Completed')?.status ?? null;
}

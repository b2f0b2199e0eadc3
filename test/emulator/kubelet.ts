import type { ClusterState } from './cluster-state.ts';
import { deleteObject } from './deletion.ts';
import { isPodLive, setCondition } from './objects.ts';
import type { JsonObject, Pod } from './objects.ts';

/**
 * Runs pods on the nodes whose kubelet is alive: a bound pod is Running and Ready, a deleted one reports Failed and
 * is then removed. On a dead node nothing ever happens.
 */
export function runKubelets(state: ClusterState): void {
  for (const pod of state.store.list('pods')) {
    const { nodeName } = pod.spec;
    if (!nodeName || !state.isKubeletAlive(nodeName)) continue;
    if (pod.metadata.deletionTimestamp) endPod(state, pod);
    else if (pod.status.phase !== 'Pending') continue;
    else if ([...state.imagePullFailures].some((isStruck) => isStruck(pod))) failPull(state, pod);
    else startPod(state, pod);
  }
}

/** Ends a pod's containers as the kubelet reports it. */
export function finishPod(
  state: ClusterState,
  pod: Pod,
  phase: 'Succeeded' | 'Failed',
  exitCode: number,
): Pod {
  return state.update('pods', pod, (draft) => {
    const time = state.time();
    const reason = phase === 'Succeeded' ? 'PodCompleted' : 'PodFailed';
    draft.status.phase = phase;
    const conditions = (draft.status.conditions ??= []);
    for (const type of ['Ready', 'ContainersReady']) {
      setCondition(conditions, { type, status: 'False', reason }, time);
    }
    const terminated = { exitCode, reason: exitCode === 0 ? 'Completed' : 'Error', finishedAt: time };
    draft.status.containerStatuses = draft.spec.containers.map((container) =>
      toStopped(container, { terminated }),
    );
  });
}

/** The status of a container that does not run. */
function toStopped({ name, image }: { name: string; image: string }, state: JsonObject): JsonObject {
  return { name, image, imageID: '', ready: false, restartCount: 0, started: false, state };
}

function startPod(state: ClusterState, pod: Pod): void {
  state.update('pods', pod, (draft) => {
    const time = state.time();
    draft.status.phase = 'Running';
    draft.status.startTime ??= time;
    // A pod whose images could not be pulled before has a reason why it is not ready.
    const conditions = (draft.status.conditions ?? []).filter(({ status }) => status === 'True');
    draft.status.conditions = conditions;
    for (const type of ['PodReadyToStartContainers', 'Initialized', 'Ready', 'ContainersReady']) {
      setCondition(conditions, { type, status: 'True' }, time);
    }
    const node = state.store.get('nodes', undefined, pod.spec.nodeName ?? '');
    const hostIP = node?.status.addresses?.find((each) => each.type === 'InternalIP')?.address;
    if (hostIP) Object.assign(draft.status, { hostIP, podIP: hostIP });
    draft.status.containerStatuses = draft.spec.containers.map(({ name, image }) => ({
      name,
      image,
      imageID: image,
      ready: true,
      restartCount: 0,
      started: true,
      state: { running: { startedAt: time } },
    }));
  });
}

/** The kubelet tries again later and later. Between two tries the reason is ImagePullBackOff. */
const firstBackoffMs = 10_000;

function failPull(state: ClusterState, pod: Pod): void {
  const startedAt = Date.parse(pod.status.startTime ?? state.time());
  const isBackingOff = state.now() >= startedAt + firstBackoffMs;
  if (!isBackingOff) state.wakeAt(startedAt + firstBackoffMs);
  const toWaiting = (image: string): { reason: string; message: string } => {
    const error = `failed to pull and unpack image "${image}": failed to resolve reference "${image}": not found`;
    if (!isBackingOff) return { reason: 'ErrImagePull', message: error };
    const message = `Back-off pulling image "${image}": ErrImagePull: ${error}`;
    return { reason: 'ImagePullBackOff', message };
  };
  const failed = state.update('pods', pod, ({ spec, status }) => {
    const time = state.time();
    status.startTime ??= time;
    const conditions = (status.conditions ??= []);
    for (const type of ['PodReadyToStartContainers', 'Initialized']) {
      setCondition(conditions, { type, status: 'True' }, time);
    }
    const names = spec.containers.map(({ name }) => name).join(' ');
    const why = { reason: 'ContainersNotReady', message: `containers with unready status: [${names}]` };
    for (const type of ['Ready', 'ContainersReady']) {
      setCondition(conditions, { type, status: 'False', ...why }, time);
    }
    status.containerStatuses = spec.containers.map((container) =>
      toStopped(container, { waiting: toWaiting(container.image) }),
    );
  });
  if (failed.status.startTime === pod.status.startTime) return;
  for (const { image } of pod.spec.containers) {
    const message = `Failed to pull image "${image}": ${toWaiting(image).message}`;
    state.recordEvent(failed, 'kubelet', 'Warning', 'Failed', message);
  }
}

/** A pod that carries it ignores SIGTERM, so it ends when its grace is over. KWOK's stages know it, too. */
export const usesItsGraceAnnotation = 'autometric-failover.test/uses-its-grace';

/** Reports a deleted pod as ended by SIGTERM, at once. With its phase reported, the object can be removed. */
function endPod(state: ClusterState, pod: Pod): void {
  // Read again: counting it may have removed the finalizer, and so the pod, within this step.
  const current = state.store.get('pods', pod.metadata.namespace, pod.metadata.name);
  if (current?.metadata.uid !== pod.metadata.uid) return;
  const killedAt = Date.parse(current.metadata.deletionTimestamp ?? '');
  const isWaiting =
    current.metadata.annotations?.[usesItsGraceAnnotation] !== undefined && isPodLive(current);
  if (isWaiting && state.now() < killedAt) return state.wakeAt(killedAt);
  if (isPodLive(current)) finishPod(state, current, 'Failed', 137);
  else deleteObject(state, 'pods', current, { gracePeriodSeconds: 0 });
}

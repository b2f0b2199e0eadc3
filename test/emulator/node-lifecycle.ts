import type { ClusterState } from './cluster-state.ts';
import { deleteObject } from './deletion.ts';
import { finishPod } from './kubelet.ts';
import { findCondition, isPodLive, setCondition } from './objects.ts';
import type { Node, Pod, Taint } from './objects.ts';

/** Makes a node's kubelet silent, as the control plane sees it: Ready is Unknown, taints, pods not ready. */
export function silenceNode(state: ClusterState, name: string): void {
  state.silentNodes.add(name);
  const node = state.store.get('nodes', undefined, name);
  if (!node) return;
  state.update('nodes', node, (draft) => {
    for (const type of ['MemoryPressure', 'DiskPressure', 'PIDPressure', 'Ready']) {
      setCondition(
        draft.status.conditions,
        {
          type,
          status: 'Unknown',
          reason: 'NodeStatusUnknown',
          message: 'Kubelet stopped posting node status.',
        },
        state.time(),
      );
    }
  });
  keepTaints(state, name);
  for (const pod of state.store.lookup('pods', 'node', name)) {
    if (isPodLive(pod)) setPodReady(state, pod, false);
  }
}

/** The kubelet reports again. */
export function wakeNode(state: ClusterState, name: string): void {
  state.silentNodes.delete(name);
  const node = state.store.get('nodes', undefined, name);
  if (!node) return;
  state.update('nodes', node, (draft) => {
    const time = state.time();
    const message = 'kubelet is posting ready status';
    setCondition(
      draft.status.conditions,
      { type: 'Ready', status: 'True', reason: 'KubeletReady', message },
      time,
    );
    for (const [type, reason] of Object.entries(healthy)) {
      setCondition(draft.status.conditions, { type, status: 'False', reason, message: reason }, time);
    }
  });
  keepTaints(state, name);
  for (const pod of state.store.lookup('pods', 'node', name)) {
    if (isPodLive(pod) && pod.status.phase === 'Running') setPodReady(state, pod, true);
  }
}

export const healthy = {
  MemoryPressure: 'KubeletHasSufficientMemory',
  DiskPressure: 'KubeletHasNoDiskPressure',
  PIDPressure: 'KubeletHasSufficientPID',
};

/** Sets the taints that mirror cordons and conditions, evicts by taint, and removes pods whose node is gone. */
export function manageNodes(state: ClusterState): void {
  const evicting: Node[] = [];
  for (const node of state.store.list('nodes')) {
    keepTaints(state, node.metadata.name);
    if (node.spec.taints?.some((taint) => taint.effect === 'NoExecute')) evicting.push(node);
  }
  for (const node of evicting) evictByTaint(state, node.metadata.name);
  collectOrphanedPods(state);
}

const mirrored = new Set([
  'node.kubernetes.io/unschedulable',
  'node.kubernetes.io/not-ready',
  'node.kubernetes.io/unreachable',
  'node.kubernetes.io/memory-pressure',
  'node.kubernetes.io/disk-pressure',
  'node.kubernetes.io/pid-pressure',
]);

function keepTaints(state: ClusterState, name: string): void {
  const node = state.store.get('nodes', undefined, name);
  if (!node) return;
  const wanted = toWantedTaints(node);
  const current = (node.spec.taints ?? []).filter((taint) => mirrored.has(taint.key));
  const isKept = (taint: Taint) =>
    wanted.some((each) => each.key === taint.key && each.effect === taint.effect);
  const isThere = (taint: Taint) =>
    current.some((each) => each.key === taint.key && each.effect === taint.effect);
  if (current.length === wanted.length && current.every(isKept)) return;
  state.update('nodes', node, (draft) => {
    const kept = (draft.spec.taints ?? []).filter((taint) => !mirrored.has(taint.key) || isKept(taint));
    const added = wanted
      .filter((taint) => !isThere(taint))
      .map((taint) => ({ ...taint, timeAdded: state.time() }));
    draft.spec.taints = [...kept, ...added];
    if (draft.spec.taints.length === 0) delete draft.spec.taints;
  });
}

function toWantedTaints(node: Node): Taint[] {
  const taints: Taint[] = [];
  if (node.spec.unschedulable) taints.push({ key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' });
  const ready = findCondition(node.status.conditions, 'Ready')?.status;
  const key = ready === 'False' ? 'node.kubernetes.io/not-ready' : 'node.kubernetes.io/unreachable';
  if (ready === 'False' || ready === 'Unknown') {
    taints.push({ key, effect: 'NoSchedule' }, { key, effect: 'NoExecute' });
  }
  for (const type of ['Memory', 'Disk', 'PID']) {
    if (findCondition(node.status.conditions, `${type}Pressure`)?.status === 'True') {
      taints.push({ key: `node.kubernetes.io/${type.toLowerCase()}-pressure`, effect: 'NoSchedule' });
    }
  }
  return taints;
}

/** Pods tolerate a dead node for 300 s unless they say otherwise. */
function evictByTaint(state: ClusterState, name: string): void {
  const node = state.store.get('nodes', undefined, name);
  const taints = node?.spec.taints?.filter((taint) => taint.effect === 'NoExecute') ?? [];
  for (const pod of state.store.lookup('pods', 'node', name)) {
    if (pod.metadata.deletionTimestamp || !isPodLive(pod)) continue;
    const due = Math.min(...taints.map((taint) => toEvictionTime(taint, pod)));
    if (due > state.now()) {
      state.wakeAt(due);
      continue;
    }
    const marked = markDisrupted(
      state,
      pod,
      'DeletionByTaintManager',
      'Taint manager: deleting due to NoExecute taint',
    );
    deleteObject(state, 'pods', marked);
  }
}

function toEvictionTime(taint: Taint, pod: Pod): number {
  const tolerating = (pod.spec.tolerations ?? []).filter(
    (each) =>
      (!each.effect || each.effect === 'NoExecute') &&
      (each.key ? each.key === taint.key : each.operator === 'Exists') &&
      (each.operator === 'Exists' || (each.value ?? '') === (taint.value ?? '')),
  );
  const since = taint.timeAdded ? Date.parse(taint.timeAdded) : 0;
  if (tolerating.length === 0) return since;
  const seconds = Math.min(...tolerating.map((each) => each.tolerationSeconds ?? Infinity));
  return since + Math.max(seconds, 0) * 1000;
}

/** PodGC runs every 20 s, and waits 40 s until it treats a node as gone. */
const orphanSeconds = 60;
const orphanedSince = new WeakMap<ClusterState, Map<string, number>>();

function collectOrphanedPods(state: ClusterState): void {
  const since = orphanedSince.get(state) ?? new Map<string, number>();
  orphanedSince.set(state, since);
  const orphaned = state.store
    .list('pods')
    .filter((pod) => pod.spec.nodeName && !state.store.get('nodes', undefined, pod.spec.nodeName));
  const uids = new Set(orphaned.map((pod) => pod.metadata.uid));
  for (const uid of since.keys()) if (!uids.has(uid)) since.delete(uid);
  for (const pod of orphaned) {
    const first = since.get(pod.metadata.uid) ?? state.now();
    since.set(pod.metadata.uid, first);
    const due = first + orphanSeconds * 1000;
    if (due > state.now()) state.wakeAt(due);
    else discardPod(state, pod);
  }
}

/** Fails a pod whose machine is gone and deletes it for good, as PodGC does. */
export function discardPod(state: ClusterState, pod: Pod): void {
  const marked = isPodLive(pod)
    ? finishPod(
        state,
        markDisrupted(state, pod, 'DeletionByPodGC', 'PodGC: node no longer exists'),
        'Failed',
        137,
      )
    : pod;
  const current = state.store.get('pods', marked.metadata.namespace, marked.metadata.name);
  if (current) deleteObject(state, 'pods', current, { gracePeriodSeconds: 0 });
}

function markDisrupted(state: ClusterState, pod: Pod, reason: string, message: string): Pod {
  return state.update('pods', pod, (draft) => {
    const condition = { type: 'DisruptionTarget', status: 'True' as const, reason, message };
    setCondition((draft.status.conditions ??= []), condition, state.time());
  });
}

function setPodReady(state: ClusterState, pod: Pod, isReady: boolean): void {
  state.update('pods', pod, (draft) => {
    const condition = { type: 'Ready', status: isReady ? ('True' as const) : ('False' as const) };
    setCondition((draft.status.conditions ??= []), condition, state.time());
  });
}

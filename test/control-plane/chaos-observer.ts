/** Watches the objects that the promises are about, past the proxy, and goes on where it was when the API server comes back. */
import { setTimeout as delay } from 'node:timers/promises';
import type { History, WatchedPlural } from './chaos-history.ts';
import { watchedPlurals } from './chaos-history.ts';
import type { KubernetesClient, KubernetesList, KubernetesObject } from './kubernetes-client.ts';

const paths: Record<WatchedPlural, string> = {
  nodes: '/api/v1/nodes',
  pods: '/api/v1/namespaces/default/pods',
  jobs: '/apis/batch/v1/namespaces/default/jobs',
  jobsets: '/apis/jobset.x-k8s.io/v1alpha2/namespaces/default/jobsets',
  leases: '/apis/coordination.k8s.io/v1/namespaces/autometric-failover-system/leases',
};

/** @returns what stops it */
export async function observe(admin: KubernetesClient, history: History): Promise<() => Promise<void>> {
  const stopped = new AbortController();
  const running: Promise<void>[] = [];
  for (const plural of watchedPlurals) {
    const list = await admin.get<KubernetesList<KubernetesObject>>(paths[plural]);
    for (const object of list.items ?? []) history.noteObject(plural, object);
    running.push(
      follow(admin, plural, list.metadata.resourceVersion ?? '0', { history, signal: stopped.signal }),
    );
  }
  return async () => {
    stopped.abort();
    await Promise.all(running);
  };
}

async function follow(
  admin: KubernetesClient,
  plural: WatchedPlural,
  from: string,
  { history, signal }: { history: History; signal: AbortSignal },
): Promise<void> {
  let version = from;
  const take = (line: string): void => {
    const { type, object } = JSON.parse(line) as { type: string; object: KubernetesObject };
    if (type === 'ERROR') throw new Error(`the watch of ${plural} was ended: ${line}`);
    version = object.metadata.resourceVersion;
    if (type !== 'BOOKMARK') history.noteObject(plural, object, type === 'DELETED');
  };
  while (!signal.aborted) {
    try {
      await admin.stream(
        `${paths[plural]}?watch=true&allowWatchBookmarks=true&resourceVersion=${version}`,
        take,
        signal,
      );
    } catch {
      // It is down, and comes back with all that happened since.
    }
    await delay(300, undefined, { signal }).catch(() => undefined);
  }
}

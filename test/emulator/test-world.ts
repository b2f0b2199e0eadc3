import type { EmulatedCluster } from './cluster.ts';
import { Emulator } from './emulator.ts';
import type { HttpRequest } from './http.ts';
import type { Pod } from './objects.ts';

export interface TestWorld {
  emulator: Emulator;
  cluster: EmulatedCluster;
  /** Moves the clock, and carries out everything that is due by then. */
  advance: (seconds: number) => void;
  now: () => number;
}

export const testClusterName = 'projects/p/locations/us-central1/clusters/c';

/** An emulator with one empty cluster, whose clock stands still unless it is advanced. */
export function createTestWorld(seed = 1): TestWorld {
  let now = Date.parse('2026-01-01T00:00:00Z');
  const emulator = new Emulator({ now: () => now, seed });
  const cluster = emulator.addCluster({ name: testClusterName });
  return {
    emulator,
    cluster,
    now: () => now,
    advance(seconds) {
      now += seconds * 1000;
      emulator.settle();
    },
  };
}

/** A request of the function's own service account, with both scopes. */
export function toRequest(
  emulator: Emulator,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): HttpRequest {
  return {
    method,
    path,
    headers: {
      authorization: `Bearer ${emulator.tokens.tokenFor('failover@p.iam.gserviceaccount.com')}`,
      'user-agent': 'test/1',
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    },
    body: body === undefined ? '' : JSON.stringify(body),
  };
}

export function indexOf(pod: Pod): number {
  return Number(pod.metadata.annotations?.['batch.kubernetes.io/job-completion-index']);
}

export function poolOf(cluster: EmulatedCluster, pod: Pod): string | undefined {
  const node =
    pod.spec.nodeName === undefined ? undefined : cluster.get('nodes', undefined, pod.spec.nodeName);
  return node?.metadata.labels?.['cloud.google.com/gke-nodepool'];
}

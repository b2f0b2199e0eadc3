import type { Deadline } from '../clock.ts';
import type { ClusterName } from '../cluster-name.ts';
import { UpstreamError } from '../errors.ts';
import type { ClusterConnection } from '../gke/cluster.ts';
import type { Services } from '../services.ts';

/**
 * Searches clusters one after the other until something is found. An unreachable cluster does not stop the search, but if
 * nothing is found elsewhere, its error is thrown: unreachable is not "not here". The connection is closed after the
 * search, and whoever needs one connects again; the endpoint is cached, so that costs little.
 */
export async function searchClusters<T>(
  clusters: ClusterName[],
  deadline: Deadline,
  { connect }: Pick<Services, 'connect'>,
  look: (connection: ClusterConnection) => Promise<T | undefined>,
): Promise<{ cluster: ClusterName; result: T } | undefined> {
  let failure: unknown;
  for (const cluster of clusters) {
    try {
      const connection = await connect(cluster, deadline);
      try {
        const result = await look(connection);
        if (result !== undefined) return { cluster, result };
      } finally {
        connection.close();
      }
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error;
      failure ??= error;
    }
  }
  if (failure !== undefined) throw failure;
  return undefined;
}

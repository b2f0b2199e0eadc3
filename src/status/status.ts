import type { Deadline } from '../clock.ts';
import type { ClusterName } from '../cluster-name.ts';
import { toFailoverError } from '../errors.ts';
import type { Services } from '../services.ts';
import { readClusterPicture } from './cluster-status.ts';
import type { ClusterPicture } from './cluster-status.ts';
import { createRecall, keepForWatchersMs } from '../recall.ts';

/** How the clusters stand. A cluster that could not be asked has its error instead. */
export type Pictures = { cluster: ClusterName; picture?: ClusterPicture; error?: string }[];

/** Creates the function that reads how the clusters stand, at most every 3 s for each cluster. */
export function createReadPictures(
  services: Pick<Services, 'clock' | 'connect' | 'config' | 'readGkeWork'>,
): (clusters: ClusterName[], deadline: Deadline) => Promise<Pictures> {
  const { clock, connect, config, readGkeWork } = services;
  const recall = createRecall(clock, keepForWatchersMs);

  async function read(name: ClusterName, deadline: Deadline): Promise<ClusterPicture> {
    const connection = await connect(name, deadline);
    try {
      const readWork = () => readGkeWork(name, { deadline });
      return await readClusterPicture(name, connection.kubernetes, config, readWork);
    } finally {
      connection.close();
    }
  }

  return (clusters, deadline) =>
    Promise.all(
      clusters.map(async (cluster) => {
        try {
          return { cluster, picture: await recall(cluster.fullName, () => read(cluster, deadline)) };
        } catch (error) {
          return { cluster, error: toFailoverError(error).message };
        }
      }),
    );
}

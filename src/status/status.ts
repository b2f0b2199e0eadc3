import type { Deadline } from '../clock.ts';
import type { ClusterName } from '../cluster-name.ts';
import { toFailoverError } from '../errors.ts';
import type { Services } from '../services.ts';
import { readClusterPicture } from './cluster-status.ts';
import type { ClusterPicture } from './cluster-status.ts';

/** How the clusters stand. A cluster that could not be asked has its error instead. */
export type Pictures = { cluster: ClusterName; picture?: ClusterPicture; error?: string }[];

/** Two people who watch cost the API server no more than one. */
const keepMs = 3_000;

/** Creates the function that reads how the clusters stand, at most every 3 s for each cluster. */
export function createReadPictures(
  services: Pick<Services, 'clock' | 'connect' | 'config' | 'readGkeWork'>,
): (clusters: ClusterName[], deadline: Deadline) => Promise<Pictures> {
  const kept = new Map<string, { at: number; picture: Promise<ClusterPicture> }>();
  const { clock, connect, config, readGkeWork } = services;

  async function read(name: ClusterName, deadline: Deadline): Promise<ClusterPicture> {
    const connection = await connect(name, deadline);
    try {
      const readWork = () => readGkeWork(name, { deadline });
      return await readClusterPicture(name, connection.kubernetes, config, readWork);
    } finally {
      connection.close();
    }
  }

  function recall(name: ClusterName, deadline: Deadline): Promise<ClusterPicture> {
    const known = kept.get(name.fullName);
    if (known && clock.now() - known.at < keepMs) return known.picture;
    const picture = read(name, deadline);
    kept.set(name.fullName, { at: clock.now(), picture });
    // A failure is not kept.
    picture.catch(() => kept.delete(name.fullName));
    return picture;
  }

  return (clusters, deadline) =>
    Promise.all(
      clusters.map(async (cluster) => {
        try {
          return { cluster, picture: await recall(cluster, deadline) };
        } catch (error) {
          return { cluster, error: toFailoverError(error).message };
        }
      }),
    );
}

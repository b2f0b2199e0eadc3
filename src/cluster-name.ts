import * as v from 'valibot';
import { FailoverError, invalidAction } from './errors.ts';

/** A GKE cluster's full name and its parts. `fullName` is `projects/P/locations/L/clusters/C`. */
export interface ClusterName {
  fullName: string;
  projectId: string;
  location: string;
  name: string;
}

const clusterPattern =
  /^projects\/([a-z][a-z0-9.:-]{2,62})\/locations\/([a-z0-9-]{3,40})\/clusters\/([a-z][a-z0-9-]{0,39})$/;

/** Parses a cluster's full name, as `CLUSTERS` lists it. */
export const clusterNameSchema = v.pipe(
  v.string(),
  v.regex(clusterPattern, (issue) => `has ${issue.received}, which is not projects/P/locations/L/clusters/C`),
  v.transform((fullName): ClusterName => {
    const [, projectId = '', location = '', name = ''] = clusterPattern.exec(fullName) ?? [];
    return { fullName, projectId, location, name };
  }),
);

/**
 * Finds the configured cluster that a caller means.
 *
 * @param given the cluster's full name or its last part; undefined means the only configured cluster
 * @throws {FailoverError} `invalid_action` if several clusters match, `forbidden` if a full name is not configured,
 *   `target_not_found` if a bare name is not
 */
export function resolveCluster(given: string | undefined, clusters: ClusterName[]): ClusterName {
  const names = clusters.map((cluster) => cluster.fullName).join(', ');
  if (given === undefined) {
    const [only, ...others] = clusters;
    if (only && others.length === 0) return only;
    throw invalidAction(`cluster is required because several are configured: ${names}`);
  }
  const matches = clusters.filter((cluster) => cluster.fullName === given || cluster.name === given);
  const [match, ...others] = matches;
  if (!match) {
    const code = given.includes('/') ? 'forbidden' : 'target_not_found';
    throw new FailoverError(
      code,
      `cluster ${given} is not one of the configured clusters (CLUSTERS): ${names}`,
    );
  }
  if (others.length > 0) {
    throw invalidAction(`cluster ${given} is ambiguous: ${matches.map((c) => c.fullName).join(', ')}`);
  }
  return match;
}

/** Returns the region of a zone or region: `us-central1` for `us-central1-a`, `us-central1-ai1a` and `us-central1`. */
export function regionOf(location: string): string {
  return location.split('-').slice(0, 2).join('-');
}

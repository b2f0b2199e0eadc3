import { FailoverError } from '../errors.ts';
import { findJobSet, readPods } from '../gke/jobset.ts';
import type { JobSet } from '../gke/jobset.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { listPooledNodes } from '../gke/nodes.ts';
import { nearestName, suggestName } from '../nearest-name.ts';

type Cluster = Pick<Kubernetes, 'within'>;

/** A refusal does not wait longer for the names that it lists. */
const listMs = 5_000;

/** Returns the end of a message about a node pool that does not exist: the ones that do. */
export function suggestPool(kubernetes: Cluster, given: string): Promise<string> {
  return orNothing(async () => {
    const nodes = await listPooledNodes(kubernetes.within(listMs));
    return suggestName(given, toUnique(nodes.map(({ nodePool }) => nodePool)), 'node pools');
  });
}

/** Returns the end of a message about a node that does not exist: the nearest one, and the node pools. There may be thousands of nodes. */
export function suggestNode(kubernetes: Cluster, given: string): Promise<string> {
  return orNothing(async () => {
    const nodes = await listPooledNodes(kubernetes.within(listMs));
    const pools = toUnique(nodes.map(({ nodePool }) => nodePool));
    if (pools.includes(given)) return `; ${given} is a node pool: send it as node_pool`;
    const nearest = nearestName(
      given,
      nodes.map(({ name }) => name),
    );
    return `${nearest === undefined ? '' : `, did you mean ${nearest}?`}; node pools: ${pools.slice(0, 20).join(', ')}`;
  });
}

/**
 * Reads the JobSet that a caller named.
 *
 * @throws {FailoverError} `target_not_found`, which names the JobSets that have pods in the namespace
 */
export async function readNamedJobSet(
  kubernetes: Pick<Kubernetes, 'custom' | 'within'>,
  namespace: string,
  name: string,
): Promise<JobSet> {
  const found = await findJobSet(kubernetes, namespace, name);
  if (found) return found;
  throw await jobSetNotFound(kubernetes, namespace, name);
}

/** Returns the refusal of a JobSet that does not exist. */
export async function jobSetNotFound(
  kubernetes: Cluster,
  namespace: string,
  name: string,
): Promise<FailoverError> {
  const names = await orNothing(async () => {
    const pods = await readPods(kubernetes.within(listMs), namespace);
    return suggestName(name, toUnique(pods.map(({ jobSetName }) => jobSetName)), 'JobSets with pods there');
  });
  return new FailoverError(
    'target_not_found',
    `there is no JobSet ${name} in namespace ${namespace}${names}`,
  );
}

/** The refusal is the answer, with or without the names. */
async function orNothing(suggest: () => Promise<string>): Promise<string> {
  try {
    return await suggest();
  } catch {
    return '';
  }
}

function toUnique(names: (string | undefined)[]): string[] {
  return [...new Set(names.filter((name) => name !== undefined))].sort();
}

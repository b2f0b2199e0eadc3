import { metadataOnly, withHeaders } from '../gke/direct-core.ts';
import { FailoverError, isUpstreamStatus, toFailoverError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { actionAnnotation, describeNames, fieldManager } from '../names.ts';
import { isQuarantined } from '../gke/node-labels.ts';
import { listCordoned, listSchedulable, toAllNodes } from '../gke/nodes.ts';
import type { NodeRef, PoolNodes } from '../gke/nodes.ts';
import type { CordonStep, UncordonStep } from '../step.ts';
import { Semaphore, mapWithSemaphore } from '../gke/semaphore.ts';

/** A pool and its nodes. */
interface PoolState {
  nodePool: string;
  nodes: PoolNodes;
}

const maxRounds = 5;

interface CordonOptions {
  actionId: string;
  concurrency: number;
  /** Younger nodes are left alone, in ms since the epoch. */
  createdBefore?: number | undefined;
}

/**
 * Cordons every node of a pool that the scheduler may still use, until a fresh list shows none. Safe to repeat: a node
 * that is cordoned already gets no write, and whoever cordoned it still owns its cordon.
 *
 * @param pool.cordoned how many nodes this action has cordoned before
 * @returns how many it has cordoned then
 * @throws {FailoverError} `target_changed` when a person has released a node that this action had cordoned;
 *   `upstream_failed` or `upstream_timeout`, saying how far it came, when a node cannot be cordoned
 */
export async function cordonPool(
  kubernetes: Kubernetes,
  pool: { nodePool: string; schedulable?: NodeRef[]; cordoned?: number },
  options: CordonOptions,
): Promise<number> {
  const { nodePool } = pool;
  const isWanted = toIsWanted(options);
  let { cordoned = 0 } = pool;
  let refusal: unknown;
  let left = (pool.schedulable ?? (await listSchedulable(kubernetes, nodePool))).filter(isWanted);
  for (let round = 1; left.length > 0; round++) {
    assertNotReleased(nodePool, left, options.actionId);
    if (round > maxRounds) throw cordonFailed(nodePool, cordoned, left, refusal);
    const outcomes = await cordonNodes(kubernetes, left, options);
    cordoned = countCordoned(nodePool, outcomes, cordoned);
    // The fresh list shows nodes that joined, and nodes that were re-created under their name.
    left = (await listSchedulable(kubernetes, nodePool)).filter(isWanted);
    refusal = findRefused(outcomes, left)[0]?.error;
  }
  return cordoned;
}

/**
 * Cordons the listed nodes of a pool, and reads no fresh list: {@link cordonPool} must follow before anything is deleted.
 * @throws {FailoverError} as {@link cordonPool} does
 */
export async function cordonOnce(
  kubernetes: Kubernetes,
  { nodePool, schedulable }: { nodePool: string; schedulable: NodeRef[] },
  options: CordonOptions,
): Promise<number> {
  const wanted = schedulable.filter(toIsWanted(options));
  assertNotReleased(nodePool, wanted, options.actionId);
  return countCordoned(nodePool, await cordonNodes(kubernetes, wanted, options), 0);
}

function toIsWanted({ createdBefore = Infinity }: CordonOptions): (node: NodeRef) => boolean {
  return (node) => node.createdAt <= createdBefore;
}

/** @throws {FailoverError} saying how far it came, when a node could not be cordoned */
function countCordoned(nodePool: string, outcomes: NodeResult[], before: number): number {
  const cordoned = before + outcomes.filter(({ outcome }) => outcome === 'cordoned').length;
  const failed = outcomes.filter(({ outcome }) => outcome === 'failed' || outcome === 'skipped');
  if (failed.length === 0) return cordoned;
  const cause = failed.find(({ error }) => error !== undefined)?.error;
  const left = failed.map(({ node }) => node);
  throw cordonFailed(nodePool, cordoned, left, cause);
}

/**
 * Releases this function's cordons of a pool. A node that somebody else has cordoned or quarantined too stays cordoned.
 *
 * @throws {FailoverError} when a node cannot be released; the same action sent again goes on
 */
export async function uncordonPool(
  kubernetes: Kubernetes,
  { nodePool, nodes }: PoolState,
  { concurrency }: { concurrency: number },
): Promise<UncordonStep> {
  const ours = toAllNodes(nodes).filter((node) => isOursAlone(node));
  const outcomes = await forEachNode(kubernetes, ours, concurrency, (client, node) =>
    applyNode(client, node, undefined),
  );
  const failed = outcomes.filter(({ outcome }) => outcome === 'failed' || outcome === 'skipped');
  if (failed.length > 0) throw uncordonFailed(nodePool, failed);
  const left = await listCordoned(kubernetes, nodePool);
  const refused = findRefused(outcomes, left);
  if (refused.length > 0) throw uncordonFailed(nodePool, refused);
  const kept = new Set(left.map((node) => node.name));
  const uncordoned = nodes.cordoned.filter((node) => isOursAlone(node) && !kept.has(node.name)).length;
  const why = `somebody else has cordoned them${left.some(isQuarantined) ? ', or NVSentinel has quarantined them' : ''}`;
  return {
    step: 'uncordon',
    target: nodePool,
    nodes: nodes.schedulable.length + nodes.cordoned.length,
    uncordoned,
    kept: kept.size,
    ...(kept.size > 0 ? { kept_nodes: describeNames([...kept]), why } : {}),
  };
}

/** The step of a dry run: what the cordon of a pool would do. */
export function planCordon({ nodePool, nodes: { schedulable, cordoned } }: PoolState): CordonStep {
  const nodes = schedulable.length + cordoned.length;
  const counts = { nodes, to_cordon: schedulable.length, already_cordoned: cordoned.length };
  return { step: 'cordon', target: nodePool, outcome: 'would_cordon', ...counts };
}

/** The step of a dry run: what releasing a pool's cordons would do. */
export function planUncordon({ nodePool, nodes: { schedulable, cordoned } }: PoolState): UncordonStep {
  const ours = cordoned.filter((node) => isOursAlone(node)).length;
  const nodes = schedulable.length + cordoned.length;
  const counts = { nodes, to_uncordon: ours, kept: cordoned.length - ours };
  return { step: 'uncordon', target: nodePool, outcome: 'would_uncordon', ...counts };
}

/** Where somebody cordons a node that is cordoned already, nothing but annotations tells of it. */
function isOursAlone(node: NodeRef): boolean {
  return node.annotations[actionAnnotation] !== undefined && !isQuarantined(node);
}

type NodeOutcome = 'cordoned' | 'gone' | 'failed' | 'skipped';

interface NodeResult {
  node: NodeRef;
  outcome: NodeOutcome;
  error?: unknown;
}

function cordonNodes(
  kubernetes: Kubernetes,
  nodes: NodeRef[],
  { actionId, concurrency }: { actionId: string; concurrency: number },
): Promise<NodeResult[]> {
  return forEachNode(kubernetes, nodes, concurrency, (client, node) => applyNode(client, node, actionId));
}

/** Applies the fields that this function wants to own: the cordon and the action's id. Applying none releases both. */
async function applyNode(
  { core }: Kubernetes,
  { name, uid }: NodeRef,
  actionId: string | undefined,
): Promise<void> {
  const ours =
    actionId === undefined
      ? { metadata: { name, uid } }
      : {
          metadata: { name, uid, annotations: { [actionAnnotation]: actionId } },
          spec: { unschedulable: true },
        };
  await core.patchNode(
    { name, body: { apiVersion: 'v1', kind: 'Node', ...ours }, fieldManager, force: true },
    asApply,
  );
}

const asApply = withHeaders({ 'Content-Type': 'application/apply-patch+yaml', Accept: metadataOnly });

/** Works on nodes with bounded concurrency. After a failure it starts no further node. */
async function forEachNode(
  kubernetes: Kubernetes,
  nodes: NodeRef[],
  concurrency: number,
  work: (client: Kubernetes, node: NodeRef) => Promise<void>,
): Promise<NodeResult[]> {
  const semaphore = new Semaphore(concurrency);
  // Release the slot during a Retry-After wait, so that another node can be patched meanwhile.
  const client = kubernetes.waiting(async (wait) => {
    semaphore.release();
    try {
      await wait();
    } finally {
      await semaphore.acquire();
    }
    if (semaphore.isClosed) throw new Error('another node could not be cordoned');
  });
  const settled = await mapWithSemaphore(semaphore, nodes, async (node): Promise<NodeResult> => {
    try {
      await work(client, node);
      return { node, outcome: 'cordoned' };
    } catch (error) {
      // Because the uid is sent, the API server refuses a re-created node (422) and does not create a node that is gone (409).
      if (!isUpstreamStatus(error, 404, 409, 422)) throw error;
      return { node, outcome: 'gone', error };
    }
  });
  return nodes.map((node, index): NodeResult => {
    const each = settled[index];
    if (!each) return { node, outcome: 'skipped' };
    return 'value' in each ? each.value : { node, outcome: 'failed', error: each.error };
  });
}

/** Nodes that a fresh list still shows, so that their refusal had another reason than that they are gone. */
function findRefused(outcomes: NodeResult[], left: NodeRef[]): NodeResult[] {
  const uids = new Set(left.map((node) => node.uid));
  return outcomes.filter(({ node, outcome }) => outcome === 'gone' && uids.has(node.uid));
}

/** A schedulable node with this action's annotation was cordoned by this action, and a person has uncordoned it since. */
function assertNotReleased(nodePool: string, schedulable: NodeRef[], actionId: string): void {
  const released = schedulable.filter((node) => node.annotations[actionAnnotation] === actionId);
  if (released.length === 0) return;
  const names = describeNames(released.map((node) => node.name));
  throw new FailoverError(
    'target_changed',
    `somebody uncordoned ${released.length} nodes of node pool ${nodePool} (${names}) after this action had cordoned them; ` +
      'nothing was deleted and nothing is cordoned again: send it with a new id if it is still wanted',
  );
}

function cordonFailed(nodePool: string, cordoned: number, left: NodeRef[], cause: unknown): FailoverError {
  const translated = cause === undefined ? undefined : toFailoverError(cause);
  const names = describeNames(left.map((node) => node.name));
  const why = translated ? `: ${translated.message}` : ': new nodes keep joining';
  return new FailoverError(
    translated?.code ?? 'upstream_failed',
    `node pool ${nodePool} is not cordoned: ${cordoned} nodes were cordoned, ${left.length} were not (${names})${why}; ` +
      'nothing was deleted, send the same id again to resume',
    { cause },
  );
}

function uncordonFailed(nodePool: string, failed: NodeResult[]): FailoverError {
  const cause = toFailoverError(failed.find(({ error }) => error !== undefined)?.error);
  const names = describeNames(failed.map(({ node }) => node.name));
  return new FailoverError(
    cause.code,
    `${failed.length} nodes of node pool ${nodePool} were not uncordoned (${names}): ${cause.message}; ` +
      'send the same id again to resume',
    { cause },
  );
}

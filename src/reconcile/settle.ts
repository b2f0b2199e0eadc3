import { emitVerdict } from '../failover/events.ts';
import { freePodsOfEnded } from '../failover/free-held-up.ts';
import { isDead } from '../gke/node-health.ts';
import { hasBegunFollowUp, writeFollowUpBegun, writeSettled, writeVerdict } from '../state/open-records.ts';
import type { FollowUp } from '../state/open-records.ts';
import type { ActionRecord } from '../state/record-format.ts';
import { describeVerdict, needsNobody } from '../verdict.ts';
import type { Verdict } from '../verdict.ts';
import { judge, toVerdict } from '../verify/verify.ts';
import type { Reader } from '../verify/verify.ts';
import { accept } from './accept.ts';
import { followUp, release, toFollowUp } from './follow-up.ts';
import type { ReconcileTools, Result } from './report.ts';

/** Whoever gave a verdict has this long to tell of it, and to do what follows from it. */
const announcingMs = 60_000;

/** Finds out what became of an action that has ended. While its run is not back, it frees what holds the restart up. */
export async function settle(
  found: ActionRecord,
  tools: ReconcileTools & { reader: Reader },
): Promise<Result> {
  const { id, verdict: given } = found;
  const { cluster, services, reader } = tools;
  const { kubernetes } = cluster;
  if (given) {
    // Another reconcile gave it, and has died since or is still at it.
    if (kubernetes.serverNow() - Date.parse(given.at) < announcingMs) return { id, outcome: 'waiting' };
    return conclude(found, given, tools);
  }
  const accepted = await accept(found, await judge(found, reader), tools);
  if (!accepted || accepted.isTesting) return { id, outcome: 'waiting' };
  const { record, judgement } = accepted;
  const verdict = toVerdict(record, judgement, {
    config: services.config,
    serverNow: kubernetes.serverNow(),
  });
  const { repaired } = judgement;
  if (repaired && !repaired.isSameHost) {
    const acceptedAt = record.acceptance?.passed_at && Date.parse(record.acceptance.passed_at);
    await release(record, acceptedAt || (repaired.at ?? kubernetes.serverNow()), tools);
  }
  if (verdict) return giveVerdict(record, verdict, tools);
  if (judgement.verdict === undefined && (await mayHang(judgement.heldUpOn, record, tools))) {
    const { clock, config } = services;
    const log = tools.log.with({ action_id: id });
    await freePodsOfEnded(record, { kubernetes, clock, config, log });
  }
  return { id, outcome: 'waiting' };
}

/**
 * Asks by one list whether what holds a restart up may be on a node that is dead. A node that the pool does not have may be
 * gone, or may be of another pool.
 */
async function mayHang(
  heldUpOn: string[] = [],
  { nodePool }: ActionRecord,
  { reader, cluster }: ReconcileTools & { reader: Reader },
): Promise<boolean> {
  if (heldUpOn.length === 0) return false;
  const serverNow = cluster.kubernetes.serverNow();
  const nodes = new Map((await reader.pool(nodePool)).map((node) => [node.name, node]));
  return heldUpOn.some((name) => {
    const node = nodes.get(name);
    return !node || isDead(node, serverNow);
  });
}

/** Writes the verdict, once: of two reconciles, one finds that the record has changed. */
export async function giveVerdict(
  record: ActionRecord,
  verdict: Verdict,
  tools: ReconcileTools,
): Promise<Result> {
  const written = await writeVerdict(tools.cluster.kubernetes, record, verdict);
  return written ? conclude(written, verdict, tools) : { id: record.id, outcome: 'waiting' };
}

/** Tells of the verdict, does what follows from it, and closes the record. */
async function conclude(record: ActionRecord, verdict: Verdict, tools: ReconcileTools): Promise<Result> {
  const { id } = record;
  const { kubernetes, name } = tools.cluster;
  if (!hasBegunFollowUp(record)) await announce(record, verdict, tools);
  const action = toFollowUp(record, verdict, name);
  let current: ActionRecord | undefined = record;
  let followed: FollowUp | undefined;
  if (action) {
    if (!hasBegunFollowUp(record)) current = await writeFollowUpBegun(kubernetes, record, action.id);
    const outcome = current ? await followUp(action, current, verdict, tools) : 'later';
    if (!current || outcome === 'later') return { id, outcome: 'waiting' };
    followed = outcome;
  }
  await writeSettled(kubernetes, current, followed);
  return { id, outcome: 'settled', verdict: verdict.verdict };
}

async function announce(
  record: ActionRecord,
  verdict: Verdict,
  { cluster, log }: ReconcileTools,
): Promise<void> {
  const { id, type, requestor, nodePool, plan } = record;
  const { namespace, name } = plan?.restart?.jobSet ?? {};
  const jobset = name === undefined ? {} : { jobset: `${namespace}/${name}` };
  const named = { action_id: id, 'logging.googleapis.com/labels': { action_id: id } };
  const fields = { ...named, type, requestor, node_pool: nodePool, ...jobset, ...verdict };
  const message = `${type} of ${nodePool}: ${describeVerdict(verdict)}`;
  if (needsNobody(verdict)) log.info('verdict', message, fields);
  else log.error('verdict', message, fields);
  await emitVerdict(cluster.kubernetes, record, verdict, log);
}

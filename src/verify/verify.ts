import type { Config } from '../config.ts';
import { unlessForbidden } from '../gke/compute.ts';
import type { AskMachine, Instance } from '../gke/compute.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { listCordoned, listPoolHealth } from '../gke/nodes.ts';
import type { NodeHealth } from '../gke/nodes.ts';
import { toRepairSeconds } from '../gke/repair-labels.ts';
import type { RepairPlan } from '../plan.ts';
import type { ActionRecord } from '../state/record-format.ts';
import type { Verdict, VerdictName } from '../verdict.ts';
import { judgeInPlace } from './in-place.ts';
import type { Judgement } from './judgement.ts';
import { judgeLabelled } from './labelled.ts';
import { judgeMachine } from './machine.ts';
import { judgeRun, readRun } from './run.ts';
import type { Run } from './run.ts';

/** Reads what verdicts rest on. Several actions on one run or one pool share what was read. */
export interface Reader {
  run(jobSet: { namespace: string; name: string }): Promise<Run>;
  pool(nodePool: string): Promise<NodeHealth[]>;
  cordoned(nodePool: string): Promise<Set<string>>;
  /** The machine of a plan; `unknown` where Compute may not be asked. */
  machine(plan: RepairPlan): Promise<Instance | 'unknown' | undefined>;
}

/**
 * Creates a reader that reads each object once. It is for one moment: one reconcile, or one answer.
 *
 * @param askMachine undefined if Compute is not asked
 */
export function createReader(kubernetes: Kubernetes, askMachine?: AskMachine): Reader {
  return {
    run: once(
      ({ namespace, name }) => `${namespace}/${name}`,
      (jobSet) => readRun(kubernetes, jobSet),
    ),
    pool: once(String, (nodePool) => listPoolHealth(kubernetes, nodePool)),
    cordoned: once(
      String,
      async (nodePool) => new Set((await listCordoned(kubernetes, nodePool)).map(({ name }) => name)),
    ),
    machine: once(
      ({ projectId, zone, instanceName }) => `${projectId}/${zone}/${instanceName}`,
      async (plan) => (askMachine ? unlessForbidden(askMachine(plan), () => 'unknown' as const) : 'unknown'),
    ),
  };
}

function once<Key, Value>(
  toText: (key: Key) => string,
  read: (key: Key) => Promise<Value>,
): (key: Key) => Promise<Value> {
  const known = new Map<string, Promise<Value>>();
  return (key) => {
    const text = toText(key);
    const found = known.get(text) ?? read(key);
    known.set(text, found);
    return found;
  };
}

/** Says what has become of an action that deleted something, as the cluster is now. It only reads. */
export async function judge(record: ActionRecord, reader: Reader): Promise<Judgement> {
  const { plan, nodePool } = record;
  if (!plan?.restart) return judgeRepair(record, reader);
  const { restart } = plan;
  const run = await judgeRun(restart, await reader.run(restart.jobSet), () => reader.cordoned(nodePool));
  return plan.repair ? judgeInPlace(await judgeRepair(record, reader), run) : run;
}

/** Says what has become of the machine that an action had repaired. */
export async function judgeRepair(record: ActionRecord, reader: Reader): Promise<Judgement> {
  const { plan, nodePool, answer } = record;
  if (!plan?.repair) throw new Error(`action ${record.id} deleted nothing, so there is nothing to verify`);
  const { way } = plan.repair;
  if (way !== undefined && !plan.repair.leftTo) {
    const labelled = { ...plan.repair, way };
    return judgeLabelled(labelled, await reader.pool(nodePool), () => reader.machine(labelled));
  }
  const step = answer?.find((each) => each.step === 'repair');
  const found = step?.['instance_id'];
  const instanceId = plan.repair.instanceId ?? (typeof found === 'string' ? found : undefined);
  const operation = step?.['operation'];
  const named = typeof operation === 'string' ? operation : undefined;
  return judgeMachine(plan.repair, instanceId, await reader.pool(nodePool), named);
}

/**
 * Turns a judgement into the verdict.
 *
 * @returns undefined while it is too early for one
 */
export function toVerdict(
  record: ActionRecord,
  judgement: Judgement,
  { config, serverNow }: { config: Config; serverNow: number },
): Verdict | undefined {
  const { plan, receivedAt, action } = record;
  const at = new Date(serverNow).toISOString();
  const attempt = judgement.attempt === undefined ? {} : { attempt: judgement.attempt };
  const why = judgement.why === undefined ? {} : { why: judgement.why };
  if (judgement.verdict === undefined) {
    const { repaired } = judgement;
    const isRun = plan?.repair ? repaired !== undefined : plan?.restart !== undefined;
    const limitSeconds = isRun ? config.recoveryTimeoutSeconds : toRepairLimit(plan?.repair, config);
    // A run that restarts in place waits for the test of its pool, too.
    const since = repaired ? Math.max(repaired.at ?? endedAt(record), acceptedAt(record)) : endedAt(record);
    if (serverNow - since < limitSeconds * 1000) return undefined;
    const verdict = judgement.onTimeOut ?? toLateVerdict(plan);
    return { verdict, at, ...attempt, why: `not within ${limitSeconds} s: ${judgement.why}` };
  }
  const { verdict } = judgement;
  const isBack = verdict === 'recovered' || verdict === 'repaired' || verdict === 'reported';
  if (!isBack || (verdict === 'reported' && judgement.at === undefined)) {
    return { verdict, at, ...attempt, ...why };
  }
  const since = findSince(judgement.at, { receivedAt, serverNow, toleranceMs: toleranceMs[verdict] });
  const time = new Date(since).toISOString();
  const startedAt = action?.incident?.startedAt ?? receivedAt;
  return {
    verdict,
    at,
    ...(verdict === 'recovered' ? { recovered_at: time } : { repaired_at: time }),
    ...toRepairedAt(judgement.repaired?.at, record, serverNow),
    ...(record.acceptance?.passed_at === undefined ? {} : { accepted_at: record.acceptance.passed_at }),
    seconds: toSeconds(since - startedAt),
    seconds_since_request: toSeconds(since - receivedAt),
    ...attempt,
    ...(judgement.isSameHost === true ? { same_host: true as const } : {}),
    ...why,
  };
}

/** When the pool of a run that restarts in place was whole. */
function toRepairedAt(
  at: number | undefined,
  { receivedAt }: ActionRecord,
  serverNow: number,
): Pick<Verdict, 'repaired_at'> {
  if (at === undefined) return {};
  const since = findSince(at, { receivedAt, serverNow, toleranceMs: toleranceMs.repaired });
  return { repaired_at: new Date(since).toISOString() };
}

/** GKE drains a node for up to an hour before it makes the machine anew. */
const gkesDrainSeconds = 3_600;

function toRepairLimit(repair: RepairPlan | undefined, { repairTimeoutSeconds }: Config): number {
  if (repair?.leftTo) return repairTimeoutSeconds + gkesDrainSeconds;
  return toRepairSeconds(repair?.way, repairTimeoutSeconds);
}

function toLateVerdict(plan: ActionRecord['plan']): VerdictName {
  if (plan?.restart) return 'not_recovered';
  return plan?.repair?.way === 'report_faulty_host' ? 'not_reported' : 'not_repaired';
}

/**
 * How long before the request a pod or a node may have become Ready by its own clock. Pods of a newer attempt cannot have, so
 * their node's clock is behind. A node may have been Ready all along: Kubernetes tells times in whole seconds, and no more is
 * allowed.
 */
const toleranceMs = { recovered: 15_000, repaired: 1000, reported: 1000 } as const;

/**
 * Finds when a verdict came true. Where nothing became Ready since the request, the cluster does not say when, and the moment
 * of the look counts.
 */
function findSince(
  at: number | undefined,
  {
    receivedAt,
    serverNow,
    toleranceMs: tolerance,
  }: { receivedAt: number; serverNow: number; toleranceMs: number },
): number {
  if (at === undefined || at < receivedAt - tolerance) return serverNow;
  return Math.min(Math.max(at, receivedAt), serverNow);
}

function toSeconds(ms: number): number {
  return Math.max(0, Math.round(ms / 1000));
}

/** When the repaired pool passed its test, in ms since the epoch; 0 where it has not. */
function acceptedAt({ acceptance }: ActionRecord): number {
  return acceptance?.passed_at === undefined ? 0 : Date.parse(acceptance.passed_at);
}

/** When the action was over, in ms since the epoch: it had done all that it would do. */
export function endedAt({ doneAt, stopped, receivedAt }: ActionRecord): number {
  return doneAt ?? (stopped ? Date.parse(stopped.at) : receivedAt);
}

import type { ClusterName } from '../cluster-name.ts';
import type { Deadline } from '../clock.ts';
import { toFailoverError } from '../errors.ts';
import type { ClusterConnection } from '../gke/cluster.ts';
import { mapWithSemaphore, Semaphore } from '../gke/semaphore.ts';
import { describeError, describeStack } from '../log.ts';
import type { Log } from '../log.ts';
import type { Services } from '../services.ts';
import { listOpenRecords } from '../state/open-records.ts';
import type { ActionRecord } from '../state/record-format.ts';
import { isPaused } from '../state/switches.ts';
import { toAskMachine } from '../gke/compute.ts';
import { createReader } from '../verify/verify.ts';
import type { ClusterReport, ReconcileTools, Result } from './report.ts';
import { resume } from './resume.ts';
import { settle } from './settle.ts';

/**
 * Looks after what is open on every configured cluster: carries on what nobody works on, and finds out what became of what
 * is done. It looks at what is, so that a lost call costs a minute, and a second one at the same time does no harm. A
 * cluster that cannot be reached does not stop the others.
 */
export function reconcile(deadline: Deadline, services: Services, log: Log): Promise<ClusterReport[]> {
  return Promise.all(
    services.config.clusters.map((name) => reconcileCluster(name, { deadline, services, log })),
  );
}

async function reconcileCluster(
  name: ClusterName,
  { deadline, services, log: parent }: Omit<ReconcileTools, 'cluster'>,
): Promise<ClusterReport> {
  const log = parent.with({ cluster: name.fullName });
  const report: ClusterReport = {
    cluster: name.fullName,
    open: 0,
    resumed: [],
    settled: [],
    waiting: [],
    errors: [],
  };
  let cluster: ClusterConnection | undefined;
  try {
    cluster = await services.connect(name, deadline);
    const { records, broken } = await listOpenRecords(cluster.kubernetes);
    report.open = records.length + broken.length;
    report.errors.push(...broken);
    for (const result of await lookAfter(records, { cluster, services, deadline, log })) add(report, result);
  } catch (error) {
    const failure = toFailoverError(error);
    const stack = failure.code === 'internal' ? { stack_trace: describeStack(error) } : {};
    log.error('failed', `reconcile of ${name.fullName} failed`, { ...describeError(error), ...stack });
    report.errors.push(failure.message);
    report.failed = true;
  } finally {
    cluster?.close();
  }
  if (report.open > 0) {
    const { open, resumed, settled, waiting, errors } = report;
    log.info('reconciled', `${open} open actions`, { open, resumed, settled, waiting, errors });
  }
  return report;
}

function add(report: ClusterReport, { id, error, ...result }: Result): void {
  if (error !== undefined) report.errors.push(`${id}: ${error}`);
  if (result.outcome === 'resumed') report.resumed.push(id);
  else if (result.outcome === 'waiting') report.waiting.push(id);
  else if (result.outcome === 'settled' && result.verdict !== undefined) {
    report.settled.push({ id, verdict: result.verdict });
  }
}

/** Verdicts only read, so many are asked for at a time. */
const verdictConcurrency = 16;

/** Works on the open actions, the oldest first, until the time is up; the next reconcile sees to the rest. */
async function lookAfter(records: ActionRecord[], tools: ReconcileTools): Promise<Result[]> {
  const ended = records.filter((record) => isEnded(record));
  const unfinished = records.filter((record) => !isEnded(record));
  const reader = createReader(
    tools.cluster.kubernetes,
    toAskMachine(tools.services.readInstance, tools.deadline),
  );
  const [verdicts, resumes] = await Promise.all([
    mapWithSemaphore(new Semaphore(verdictConcurrency), ended, (record) =>
      guard(record, tools, () => settle(record, { ...tools, reader })),
    ),
    resumeAll(unfinished, tools),
  ]);
  return [...verdicts.flatMap((each) => ('value' in each ? [each.value] : [])), ...resumes];
}

/** Nothing more is to be done: the answer is recorded, or the action was refused after it had deleted something. */
function isEnded({ phase, stopped, verdict }: ActionRecord): boolean {
  return phase === 'done' || verdict !== undefined || (stopped?.hasDeleted === true && stopped.status < 500);
}

async function resumeAll(records: ActionRecord[], tools: ReconcileTools): Promise<Result[]> {
  const [first] = records;
  if (!first) return [];
  const isClusterPaused = await isPaused(tools.cluster.kubernetes);
  const results: Result[] = [];
  for (const record of records) {
    results.push(await guard(record, tools, () => resume(record, { ...tools, isClusterPaused })));
  }
  return results;
}

/** One action's failure does not stop the others. */
async function guard(
  { id }: ActionRecord,
  { deadline, log }: ReconcileTools,
  work: () => Promise<Result>,
): Promise<Result> {
  if (deadline.leftMs() <= 0) return { id, outcome: 'waiting' };
  try {
    return await work();
  } catch (error) {
    log.warn('warning', `action ${id} could not be looked after; the next reconcile tries again`, {
      action_id: id,
      ...describeError(error),
    });
    return { id, outcome: 'waiting', error: toFailoverError(error).message };
  }
}

import { mayRepair } from '../request/action.ts';
import type { Action } from '../request/action.ts';
import { authoriseAction } from '../request/auth.ts';
import { carryOut } from './carry-out.ts';
import { claimAction } from './claim.ts';
import type { Awaiting } from './claim.ts';
import type { Deadline } from '../clock.ts';
import type { ClusterConnection } from '../gke/cluster.ts';
import { crowdOf, pacedBy } from './crowd.ts';
import { lookEarly } from './early-look.ts';
import { finish, abort, noteEarly, noteRefused } from './finish.ts';
import { timed } from '../log.ts';
import type { Log } from '../log.ts';
import { freeHeldUpPods } from './free-held-up.ts';
import { prepare } from './prepare.ts';
import { dryRun } from './dry-run.ts';
import type { Services } from '../services.ts';
import type { RecordedStep, Step } from '../step.ts';
import { isAwaitingApproval } from '../state/approval.ts';
import type { ActionRecord } from '../state/record-format.ts';
import { resolveNode } from '../decide/alert-subject.ts';
import { resolvePool } from '../decide/targets.ts';
import type { Execution } from './execution.ts';
import { beginReads } from './reads.ts';

/** The outcome of an action. */
export interface Outcome {
  steps: RecordedStep[];
  /** The action had been done before, and was answered from its record. */
  isReplay: boolean;
  /** When the replayed action was done, in ms since the epoch by the API server's clock. */
  doneAt?: number | undefined;
  /** An earlier request had begun the action, and this one finished it. */
  isResume?: boolean;
  /** Set if nothing was done, because the plan must first be approved. */
  awaiting?: ActionRecord;
}

/**
 * Carries an action out. Nothing before the cordon changes a node, a pod, a JobSet or an instance. The plan is recorded
 * before anything is deleted. Each step is safe to repeat, so that the same action sent again resumes, or gets the recorded
 * answer.
 *
 * @param deadline by when it must have answered
 * @throws {FailoverError} every refusal and failure
 * @throws {Ignored} for an alert for which nothing is to be done
 */
export async function failover(
  action: Action,
  deadline: Deadline,
  services: Services,
  log: Log,
): Promise<Outcome> {
  // An alert was authorised before, when its cluster was searched for. An action of a caller is authorised here only.
  authoriseAction(action, services.config);
  if (mayRepair(action) && !action.dryRun) await services.prepareRepair();
  const crowd = crowdOf(services);
  const connection = await timed(log, 'connect', () => services.connect(action.cluster, deadline));
  const cluster = action.isRedelivered === true ? pacedBy(crowd, connection) : connection;
  try {
    if (action.dryRun) {
      const steps = await dryRun(action, cluster, services, deadline, log);
      return { steps, isReplay: false };
    }

    const { kubernetes } = cluster;
    const { clock, config } = services;
    const { nodePool, refusal, isNoted } = await lookEarly(action, { kubernetes, config, crowd });
    if (refusal) {
      await noteEarly({ ...action, nodePool }, refusal, { kubernetes, clock, log, crowd, isNoted });
      throw refusal;
    }
    return await crowd.carryOut(action, nodePool, () =>
      claimAndExecute(action, cluster, deadline, services, log),
    );
  } finally {
    cluster.close();
  }
}

async function claimAndExecute(
  action: Action,
  cluster: ClusterConnection,
  deadline: Deadline,
  services: Services,
  log: Log,
): Promise<Outcome> {
  const { kubernetes } = cluster;
  const resolve = async () => resolvePool(kubernetes, await resolveNode(kubernetes, action));
  // What an alert means is known only once it is known that it is still open.
  const begin = action.incident
    ? undefined
    : (pool: string) => beginReads(action, pool, cluster, services, { deadline, isPlanned: false });
  const claimed = await timed(log, 'claim', () =>
    claimAction(action, { kubernetes, clock: services.clock, resolvePool: resolve, beginReads: begin }),
  ).catch(async (error: unknown) => {
    await noteRefused(action, error, { kubernetes, clock: services.clock, log });
    throw error;
  });
  if ('awaiting' in claimed) return toAwaiting(claimed);
  if ('answer' in claimed) {
    const { clock, config } = services;
    const steps = await freeHeldUpPods(claimed.record, { kubernetes, clock, config, log });
    return { steps, isReplay: true, doneAt: claimed.doneAt };
  }

  const { claim } = claimed;
  const isResume = claim.record.plan !== undefined && !isAwaitingApproval(claim.record);
  const done = await execute({
    action,
    claim,
    cluster,
    deadline,
    services,
    log: log.with({ node_pool: claim.nodePool }),
    record: claim.record,
    snapshot: undefined,
  });
  return 'awaiting' in done ? toAwaiting(done) : { steps: done, isReplay: false, isResume };
}

function toAwaiting({ awaiting }: Awaiting): Outcome {
  return { steps: awaiting.approval?.steps ?? [], isReplay: false, awaiting };
}

/** Carries a claimed action out. However it ends, the claim is released. */
async function execute(execution: Execution): Promise<Step[] | Awaiting> {
  try {
    const prepared = await prepare(execution);
    if ('awaiting' in prepared) return prepared;
    const steps = await carryOut(execution, prepared);
    await finish(execution, prepared, steps);
    return steps;
  } catch (error) {
    await abort(execution, error);
    throw error;
  }
}

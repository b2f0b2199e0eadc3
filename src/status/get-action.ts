import type { Clock, Deadline } from '../clock.ts';
import type { ClusterName } from '../cluster-name.ts';
import { FailoverError } from '../errors.ts';
import type { ClusterConnection } from '../gke/cluster.ts';
import type { Services } from '../services.ts';
import { readLease } from '../state/lease.ts';
import type { LeaseState } from '../state/lease-format.ts';
import { toRecord, toRecordName } from '../state/record-format.ts';
import { toActionView } from './action-view.ts';
import type { ActionView } from './action-view.ts';
import { observe } from './observe.ts';
import { toResendable } from './resend.ts';
import type { Observed } from './observe.ts';

/** An action with what the cluster says about it right now. */
export interface ActionAnswer extends ActionView {
  observed?: Observed;
  /** The body that carries it on when it is sent again; absent where an alert asked for it. */
  request?: object;
  links: { log: string };
}

/** How often a request that waits looks. */
const pollMs = 2_000;

/** Time to answer before the deadline. */
const answerMs = 5_000;

/**
 * Shows one action, and what the cluster says about it right now.
 *
 * @param options.waitMs for so long the answer is held back until the action is settled
 * @throws {FailoverError} `target_not_found`
 */
export async function getAction(
  id: string,
  { clusters, waitMs }: { clusters: ClusterName[]; waitMs: number },
  deadline: Deadline,
  { clock, connect }: Pick<Services, 'clock' | 'connect'>,
): Promise<ActionAnswer> {
  const stopWaitingAt = clock.now() + Math.min(waitMs, Math.max(0, deadline.leftMs() - answerMs));
  const connections = await connectAll(clusters, deadline, connect);
  try {
    const found = await find(id, connections);
    return await show(id, await waitUntilSettled(id, found, { clock, stopWaitingAt }));
  } finally {
    for (const connection of connections) connection.close();
  }
}

async function connectAll(
  clusters: ClusterName[],
  deadline: Deadline,
  connect: Services['connect'],
): Promise<ClusterConnection[]> {
  const connected = await Promise.allSettled(clusters.map((name) => connect(name, deadline)));
  const failed = connected.find((each) => each.status === 'rejected');
  const connections = connected.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  if (!failed) return connections;
  for (const connection of connections) connection.close();
  throw failed.reason;
}

/** A record, and the cluster that it is in. */
interface Found {
  connection: ClusterConnection;
  lease: LeaseState;
}

async function find(id: string, connections: ClusterConnection[]): Promise<Found> {
  const found = await Promise.all(
    connections.map(async (connection) => {
      const lease = await readLease(connection.kubernetes, toRecordName(id));
      return lease ? [{ connection, lease }] : [];
    }),
  );
  const [first] = found.flat();
  if (first) return first;
  throw new FailoverError(
    'target_not_found',
    `there is no action ${id}: its id is misspelt, it was refused before anything was decided, or it was settled more than ` +
      '7 days ago (beyond 1,000 settled actions, the oldest are forgotten sooner). GET /actions lists them',
  );
}

/** @throws {FailoverError} `target_not_found` if the record is deleted meanwhile */
async function waitUntilSettled(
  id: string,
  { connection, lease: first }: Found,
  { clock, stopWaitingAt }: { clock: Clock; stopWaitingAt: number },
): Promise<Found> {
  let lease = first;
  const isOver = () =>
    ['settled', 'broken'].includes(
      toActionView(lease, connection.name, connection.kubernetes.serverNow()).state,
    );
  while (clock.now() + pollMs < stopWaitingAt && !isOver()) {
    await clock.sleep(pollMs);
    const current = await readLease(connection.kubernetes, toRecordName(id));
    if (!current) {
      throw new FailoverError('target_not_found', `the record of action ${id} was deleted just now`);
    }
    lease = current;
  }
  return { connection, lease };
}

async function show(id: string, { connection: { kubernetes, name }, lease }: Found): Promise<ActionAnswer> {
  const view = toActionView(lease, name, kubernetes.serverNow());
  const links = { log: toLogLink(id, name) };
  if (view.state === 'broken') return { ...view, links };
  const record = toRecord(lease);
  const request = toResendable(record, name);
  return { ...view, observed: await observe(record, kubernetes), ...(request && { request }), links };
}

/** The Logs Explorer with the lines of one action. */
export function toLogLink(id: string, { projectId }: ClusterName): string {
  const query = encodeURIComponent(`labels.action_id="${id}"`);
  return `https://console.cloud.google.com/logs/query;query=${query};duration=P7D?project=${projectId}`;
}

import * as v from 'valibot';
import type { Clock } from '../clock.ts';
import type { FailoverError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { prefix } from '../names.ts';
import type { Action } from '../request/action.ts';
import { createLease, readLease, replaceLease } from './lease.ts';
import { parseStored, timeSchema } from './stored.ts';

/** A request that was refused before anything was decided, as the API shows it. */
export type Refusal = v.InferOutput<typeof refusalSchema>;

const refusalSchema = v.object({
  id: v.string(),
  state: v.literal('refused'),
  type: v.string(),
  requestor: v.string(),
  reason: v.string(),
  node_pool: v.exactOptional(v.string()),
  jobset: v.exactOptional(v.string()),
  caller: v.exactOptional(v.string()),
  incident_id: v.exactOptional(v.string()),
  received_at: timeSchema,
  error: v.object({ code: v.string(), message: v.string(), at: timeSchema }),
});

const refusalsSchema = v.array(refusalSchema);

const leaseName = 'refusals';
const refusalsKey = `${prefix}refusals`;

const keepMs = 24 * 3_600_000;
const most = 200;

/** All annotations of an object may have 256 KiB together. */
const mostBytes = 200_000;

/**
 * In a storm, many instances refuse at once, and most of what they would write says the same. Beyond these bounds a refusal
 * is in the log only.
 */
const mostTries = 3;
const windowMs = 60_000;
const mostAlike = 5;
const mostInWindow = 30;

/** Who has lost against another writer waits up to this long before it tries again, so that not all come back at once. */
const mostWaitMs = 500;

/** Reads the requests that were refused within a day. A list that cannot be read counts as empty. */
export async function readRefusals(kubernetes: Kubernetes): Promise<Refusal[]> {
  const lease = await readLease(kubernetes, leaseName);
  return parse(lease?.annotations ?? {}, kubernetes.serverNow());
}

/**
 * Remembers for a day that a request was refused. At most 200 are kept, the newest. The same refusal of the same request is
 * kept once, and of those that are alike a few in a minute.
 */
export async function noteRefusal(
  kubernetes: Kubernetes,
  action: Action,
  { code, message }: FailoverError,
  clock: Clock,
): Promise<void> {
  for (let tries = 1; tries <= mostTries; tries++) {
    const current = await readLease(kubernetes, leaseName);
    const now = kubernetes.serverNow();
    const at = new Date(now).toISOString();
    const refusal: Refusal = {
      id: action.id,
      state: 'refused',
      type: action.type,
      requestor: action.requestor,
      reason: action.reason.slice(0, 256),
      ...(action.nodePool === undefined ? {} : { node_pool: action.nodePool }),
      ...(action.jobSetName === undefined ? {} : { jobset: `${action.namespace}/${action.jobSetName}` }),
      ...(action.caller === undefined ? {} : { caller: action.caller }),
      ...(action.incident === undefined ? {} : { incident_id: action.incident.id }),
      received_at: at,
      error: { code, message: message.slice(0, 600), at },
    };
    const known = parse(current?.annotations ?? {}, now);
    if (!isNews(refusal, known, now)) return;
    const annotations = {
      ...current?.annotations,
      [refusalsKey]: toText([refusal, ...known].slice(0, most)),
    };
    const written = current
      ? await replaceLease(kubernetes, { ...current, annotations })
      : await createLease(kubernetes, { name: leaseName, annotations });
    if (written) return;
    if (tries < mostTries) await clock.sleep(Math.random() * mostWaitMs);
  }
}

function isNews(refusal: Refusal, known: Refusal[], now: number): boolean {
  const alike = known.filter((each) => toKind(each) === toKind(refusal));
  if (alike.some(({ id }) => id === refusal.id)) return false;
  const countRecent = (refusals: Refusal[]) =>
    refusals.filter(({ received_at: at }) => now - Date.parse(at) < windowMs).length;
  return countRecent(alike) < mostAlike && countRecent(known) < mostInWindow;
}

/** What refusals that are alike have in common: who asked for what, where, and why it was refused. */
function toKind({ type, requestor, caller, node_pool: nodePool, jobset, error }: Refusal): string {
  return JSON.stringify([type, requestor, caller, nodePool, jobset, error.code]);
}

function toText(refusals: Refusal[]): string {
  for (let kept = refusals; ; kept = kept.slice(0, Math.floor(kept.length / 2))) {
    const text = JSON.stringify(kept);
    if (Buffer.byteLength(text) <= mostBytes || kept.length <= 1) return text;
  }
}

function parse(annotations: Readonly<Record<string, string>>, now: number): Refusal[] {
  const stored = parseStored(refusalsSchema, annotations, refusalsKey);
  const refusals = stored === undefined || stored === 'broken' ? [] : stored.value;
  return refusals.filter(({ received_at: at }) => now - Date.parse(at) < keepMs);
}

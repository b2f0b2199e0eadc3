import * as v from 'valibot';
import { FailoverError } from '../errors.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { hostMemoryMs, prefix } from '../names.ts';
import { createLease, limitConflicts, listLeases, readLease, replaceLease, toLeaseName } from './lease.ts';
import { kindLabel } from './record-format.ts';
import { parseStored, timeSchema } from './stored.ts';

// A repair by deletion may bring the machine back on the host that was bad, weeks later, too. So the hosts whose machines were
// repaired are remembered, each in a Lease of its own.

const repairSchema = v.object({
  /** The action's id. */
  action: v.string(),
  at: timeSchema,
  /** `delete`, `reboot` and so on. */
  way: v.string(),
  node: v.string(),
});

/** A repair of a machine that ran on a host. */
export type HostRepair = v.InferOutput<typeof repairSchema>;

const repairsSchema = v.array(repairSchema);

const hostKey = `${prefix}host`;
const repairsKey = `${prefix}repairs`;

/** Of each host so many are kept. */
const maxRepairs = 10;

/** A repair must not be held up by what it would only tell. */
const patienceMs = 3_000;

/** Reads the repairs of the last 30 days by host, the oldest first. `unread` where they cannot be read. */
export async function readHostMemory(kubernetes: Kubernetes): Promise<Map<string, HostRepair[]> | 'unread'> {
  try {
    const leases = await listLeases(kubernetes.within(patienceMs), `${kindLabel}=host`);
    const now = kubernetes.serverNow();
    return new Map(
      leases.flatMap(({ annotations }) => {
        const { [hostKey]: host } = annotations;
        return host === undefined ? [] : [[host, recent(annotations, now)] as const];
      }),
    );
  } catch (error) {
    if (error instanceof FailoverError) return 'unread';
    throw error;
  }
}

/** Remembers that a machine on a host was repaired, each action once. */
export async function noteHostRepair(
  kubernetes: Kubernetes,
  host: string,
  repair: HostRepair,
): Promise<void> {
  const name = toLeaseName('host', host);
  const countConflict = limitConflicts(name);
  const patient = kubernetes.within(patienceMs);
  const toAnnotations = (repairs: HostRepair[]) => ({
    [hostKey]: host,
    [repairsKey]: JSON.stringify([...repairs, repair].slice(-maxRepairs)),
  });
  const labels = { [kindLabel]: 'host' };
  const now = kubernetes.serverNow();
  // First of all it is created, because most hosts are repaired once: one call.
  if (await createLease(patient, { name, labels, annotations: toAnnotations([]), renewedAt: now })) return;
  for (;;) {
    const current = await readLease(patient, name);
    const known = current ? recent(current.annotations, now) : [];
    if (known.some(({ action }) => action === repair.action)) return;
    const annotations = { ...current?.annotations, ...toAnnotations(known) };
    const written = current
      ? await replaceLease(patient, { ...current, annotations, renewedAt: now })
      : await createLease(patient, { name, labels, annotations, renewedAt: now });
    if (written) return;
    countConflict();
  }
}

/** What is broken counts as nothing: it refuses nothing. */
function recent(annotations: Readonly<Record<string, string>>, now: number): HostRepair[] {
  const stored = parseStored(repairsSchema, annotations, repairsKey);
  const repairs = stored === undefined || stored === 'broken' ? [] : stored.value;
  return repairs.filter(({ at }) => now - Date.parse(at) < hostMemoryMs);
}

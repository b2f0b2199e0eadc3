/** Whose requests they are: which invocation sent each, for which action, and on which lane. */
import { toRequestId } from '../../src/effects/delete-machine.ts';
import { toMarkName } from '../../src/state/restart-mark.ts';
import type { SentCall } from '../simulation/function-instance.ts';
import type { Entry, Sender } from './chaos-history.ts';
import type { Lane } from './chaos-lanes.ts';
import { poolLabel } from './world.ts';

type Call = Extract<Entry, { kind: 'call' }>;

/** What one connection pool of the function, or one request to it, does. */
interface Invocation {
  number: number;
  actionId: string;
  delivery: string;
}

const idKey = 'autometric-failover/id';

export class Callers {
  /** Sessions of which nobody said who opened them: their instance was killed before it could. */
  readonly unknownSessions = new Set<number>();
  readonly #lanes: Lane[];
  readonly #senders = new Map<number, { pool: string; delivery: string }>();
  readonly #invocations = new Map<string, Invocation>();
  /** The actions of deliveries; `reconcile` carries on several. */
  readonly #actionIds = new Map<string, string>();
  readonly #poolsOfNames = new Map<string, string>();
  readonly #laneOfLease = new Map<string, Lane>();

  constructor(entries: Entry[], lanes: Lane[]) {
    this.#lanes = lanes;
    for (const lane of lanes) {
      this.#laneOfLease.set(toMarkName('default', lane.jobSet), lane);
      for (const pool of lane.pools) this.#laneOfLease.set(`pool-${pool}`, lane);
    }
    for (const entry of entries) this.#learn(entry);
    this.#matchSessions(entries);
  }

  onDelivery(delivery: string, actionId: string): void {
    this.#actionIds.set(delivery, actionId);
  }

  laneOf(actionId: string): Lane | undefined {
    const [name] = /^lane-\d+/.exec(actionId) ?? [];
    return this.#lanes.find((lane) => lane.name === name);
  }

  /** Makes of an entry what the promises take. */
  toSentCall({ api, method, path, body, by, at }: Call): SentCall {
    const [pathname = '', query = ''] = path.split('?');
    const parsed = body === '' ? undefined : (JSON.parse(body) as unknown);
    const requestId = new URLSearchParams(query).get('requestId');
    const invocation = this.#findInvocation(by, pathname, requestId);
    if (method !== 'GET' && api === 'kubernetes' && this.#isPart(invocation)) {
      invocation.actionId = readRecordedId(parsed) ?? invocation.actionId;
    }
    return {
      invocation: invocation.number,
      actionId: invocation.actionId,
      api,
      method,
      path: requestId === null ? pathname : `${pathname}?requestId=${requestId}`,
      body: parsed,
      at,
    };
  }

  /** The lanes that a call is about: one, or all where it does not say. */
  lanesOf({ actionId, path, body }: SentCall): Lane[] {
    const { metadata } = (body ?? {}) as {
      metadata?: { name?: string; annotations?: Record<string, string> };
    };
    const [, kind = '', name = ''] =
      /\/(nodes|pods|jobs|jobsets|leases|instances)\/([^/?]+)/.exec(path) ?? [];
    const lease = kind === 'leases' ? name : path.endsWith('/leases') ? (metadata?.name ?? '') : '';
    const pool = ['nodes', 'instances'].includes(kind) ? this.#poolsOfNames.get(name) : undefined;
    const found =
      this.#lanes.find(({ pools }) => pool !== undefined && pools.includes(pool)) ??
      (['pods', 'jobs', 'jobsets'].includes(kind)
        ? this.#lanes.find(({ jobSet }) => name === jobSet || name.startsWith(`${jobSet}-`))
        : undefined) ??
      this.#laneOfLease.get(lease) ??
      this.laneOf(metadata?.annotations?.[idKey] ?? '') ??
      this.laneOf(actionId);
    return found ? [found] : this.#lanes;
  }

  #learn(entry: Entry): void {
    if (entry.kind === 'machine' && entry.machine.pool !== '') {
      this.#poolsOfNames
        .set(entry.machine.name, entry.machine.pool)
        .set(entry.machine.id, entry.machine.pool);
    }
    if (entry.kind !== 'object') return;
    const { name, labels, annotations } = entry.object.metadata;
    if (entry.plural === 'nodes') this.#poolsOfNames.set(name, labels?.[poolLabel] ?? '');
    const lane = entry.plural === 'leases' ? this.laneOf(annotations?.[idKey] ?? '') : undefined;
    if (lane && name.startsWith('action-')) this.#laneOfLease.set(name, lane);
  }

  /** A port is used again after a while, so the times must fit. */
  #matchSessions(entries: Entry[]): void {
    const opened = entries.filter((entry) => entry.kind === 'connected');
    for (const entry of entries) {
      if (entry.kind !== 'session') continue;
      const { session, port, at } = entry;
      const mostMs = 5_000;
      const found = opened
        .filter((each) => each.port === port && Math.abs(each.at - at) < mostMs)
        .sort((a, b) => Math.abs(a.at - at) - Math.abs(b.at - at))[0];
      if (found) this.#senders.set(session, found);
    }
  }

  #findInvocation(by: Sender, pathname: string, requestId: string | null): Invocation {
    if ('session' in by) {
      const sender = this.#senders.get(by.session);
      if (!sender) {
        this.unknownSessions.add(by.session);
        return this.#invocation(`session ${by.session}`, '');
      }
      const isReconcile = this.#actionIds.get(sender.delivery) === 'reconcile';
      return this.#invocation(isReconcile ? sender.pool : sender.delivery, sender.delivery);
    }
    const { delivery } = by;
    if (this.#actionIds.get(delivery) !== 'reconcile' || requestId === null) {
      return this.#invocation(delivery, delivery);
    }
    const [, instance = ''] = /\/instances\/([^/]+)/.exec(pathname) ?? [];
    const parts = [...this.#invocations.values()].filter((each) => each.delivery === delivery);
    return (
      parts.find(({ actionId }) => toRequestId(actionId, instance) === requestId) ??
      this.#invocation(delivery, delivery)
    );
  }

  #invocation(key: string, delivery: string): Invocation {
    const known = this.#invocations.get(key);
    if (known) return known;
    const actionId = this.#actionIds.get(delivery) ?? 'unknown';
    const begun = { number: this.#invocations.size, actionId, delivery };
    this.#invocations.set(key, begun);
    return begun;
  }

  /**
   * Of a reconcile, the first connection looks after all, and each further one carries on one action. A session that nobody
   * knows is somebody's.
   */
  #isPart({ number, delivery, actionId }: Invocation): boolean {
    if (actionId === 'unknown' || delivery === '') return true;
    if (this.#actionIds.get(delivery) !== 'reconcile') return false;
    const first = [...this.#invocations.values()].find((each) => each.delivery === delivery);
    return first?.number !== number;
  }
}

/** The id of the action whose record is written. */
function readRecordedId(body: unknown): string | undefined {
  const { metadata } = (body ?? {}) as { metadata?: { name?: string; annotations?: Record<string, string> } };
  return metadata?.name?.startsWith('action-') ? metadata.annotations?.[idKey] : undefined;
}

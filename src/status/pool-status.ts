import type { Config } from '../config.ts';
import { countAttempts } from '../state/attempts.ts';
import type { Subject } from '../state/attempts.ts';
import { listMarks, toCooldownLeftMs, toRepairs } from '../state/cooldown.ts';
import type { LeaseState } from '../state/lease-format.ts';
import { readLockState } from '../state/pool-lease.ts';
import { readVeto } from '../state/veto.ts';
import { toTime, withoutAbsent } from './action-view.ts';
import type { GkeView } from './gke-view.ts';
import type { NodeState, NodeView } from './node-state.ts';

/** How one node pool stands, as the API shows it (docs/api.md, docs/openapi.yaml). */
export interface PoolStatus extends GkeView {
  name: string;
  nodes: Partial<Record<NodeState, number>> & { total: number };
  /** By the id of the action, or `a person`, how many nodes it keeps cordoned. */
  cordoned_by: Record<string, number>;
  /** By `<namespace>/<JobSet>`, the live pods. */
  runs: Record<string, number>;
  /** The action that works on the pool now. */
  lock?: { action: string; until: string };
  /** Somebody keeps the function away from the pool. */
  veto?: VetoView;
  /** What was done within COOLDOWN_SECONDS, and until when it is not done again. */
  cooldowns: CooldownView[];
  /** The repairs of the pool. */
  attempts: AttemptsView;
}

export interface VetoView {
  why: string;
  /** Absent where it cannot be read, so that it holds until it is put right. */
  until?: string;
}

export interface CooldownView {
  effect: string;
  action: string;
  until: string;
  seconds_left: number;
  /** Whether the deletion was accepted, or only begun. */
  state: 'begun' | 'accepted';
}

/** What was done within 24 h, of `MAX_ATTEMPTS_PER_DAY`. */
export interface AttemptsView {
  max: number;
  used: number;
  left: number;
  /** When one more is possible, where none is left. */
  again_at?: string;
  /** The list cannot be read, so everything is refused. */
  broken?: true;
}

/** The rules by which a status is worked out, and the time. */
export interface StatusRules {
  config: Config;
  now: number;
}

const leasePrefix = 'pool-';

/** Shows the pools that have nodes, and those that are without nodes now but were acted on. Without what runs there. */
export function showPools(
  nodes: Map<string, NodeView[]>,
  leases: LeaseState[],
  rules: StatusRules,
): PoolStatus[] {
  const leaseOf = new Map(leases.map((lease) => [lease.name.slice(leasePrefix.length), lease]));
  const names = new Set([...nodes.keys(), ...leaseOf.keys()]);
  return [...names]
    .map((name) => showPool(name, nodes.get(name) ?? [], leaseOf.get(name), rules))
    .filter(({ nodes: { total }, lock, veto, cooldowns, attempts }) => {
      const isMarked = lock !== undefined || veto !== undefined || cooldowns.length > 0;
      return total > 0 || isMarked || attempts.used > 0;
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function showPool(
  name: string,
  nodes: NodeView[],
  lease: LeaseState | undefined,
  rules: StatusRules,
): PoolStatus {
  const counts: PoolStatus['nodes'] = { total: nodes.length };
  const cordonedBy: Record<string, number> = {};
  for (const { state, cordonedBy: who } of nodes) {
    counts[state] = (counts[state] ?? 0) + 1;
    if (who !== undefined) cordonedBy[who] = (cordonedBy[who] ?? 0) + 1;
  }
  const annotations = lease?.annotations ?? {};
  const veto = readVeto(annotations, rules.now);
  const lock = lease && readLockState(lease, rules.now);
  return withoutAbsent({
    name,
    nodes: counts,
    cordoned_by: cordonedBy,
    runs: {},
    veto:
      veto &&
      withoutAbsent({ why: veto.why, until: veto.until === undefined ? undefined : toTime(veto.until) }),
    lock: lock && { action: lock.actionId, until: toTime(lock.freeAt) },
    cooldowns: showCooldowns(annotations, rules),
    attempts: showAttempts(
      toRepairs(
        name,
        annotations,
        nodes.map(({ machine }) => machine),
      ),
      rules,
    ),
  });
}

function showCooldowns(annotations: Record<string, string>, { config, now }: StatusRules): CooldownView[] {
  return listMarks(annotations).flatMap(([effect, mark]) => {
    const leftMs = toCooldownLeftMs(mark, config, now);
    if (leftMs <= 0) return [];
    const { action, at, state = 'accepted' } = mark;
    const until = toTime(Date.parse(at) + config.cooldownSeconds * 1000);
    return [{ effect, action, until, seconds_left: Math.ceil(leftMs / 1000), state }];
  });
}

/** Shows how many attempts a subject has left. */
export function showAttempts(subject: Subject, { config, now }: StatusRules): AttemptsView {
  const { max, used, left, againAt, isBroken } = countAttempts(subject, config, now);
  return withoutAbsent({
    max,
    used,
    left,
    again_at: againAt === undefined ? undefined : toTime(againAt),
    broken: isBroken || undefined,
  });
}

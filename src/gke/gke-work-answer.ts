import { toMs } from '../clock.ts';
import type { ClusterName } from '../cluster-name.ts';

/** A node pool as GKE manages it. */
export interface GkePool {
  /** `RUNNING`, `RECONCILING` and so on. */
  status: string;
  /** The codes of its conditions, such as `GCE_STOCKOUT`. */
  conditions: string[];
  /** The phase of a blue-green upgrade, if one is under way. */
  upgradePhase: string | undefined;
  isSpot: boolean;
  isFlexStart: boolean;
  isQueued: boolean;
}

/** An operation of GKE that has not ended. */
export interface GkeOperation {
  /** `UPGRADE_NODES` and so on. */
  type: string;
  name: string;
  /** In ms since the epoch. */
  since: number | undefined;
  /** Undefined for one on the whole cluster. */
  pool: string | undefined;
  /** GKE may name one node of those that it works on. */
  node: string | undefined;
}

/**
 * Reads the pools of a cluster, by name. Nothing of the answer is believed to be what it should.
 *
 * @returns undefined where it is something else
 */
export function toPools(answer: unknown): Map<string, GkePool> | undefined {
  const pools = listOf(answer, 'nodePools');
  return pools && new Map(pools.map((pool) => [textOf(pool, 'name'), toPool(pool)]));
}

function toPool(pool: unknown): GkePool {
  const phase = textOf(fieldOf(fieldOf(pool, 'updateInfo'), 'blueGreenInfo'), 'phase');
  const config = fieldOf(pool, 'config');
  const codes = (listOf(pool, 'conditions') ?? []).map((condition) => {
    const code = textOf(condition, 'code');
    return wordOrNone(code) === 'UNKNOWN' || code === '' ? textOf(condition, 'canonicalCode') : code;
  });
  return {
    status: wordOrNone(textOf(pool, 'status')) ?? 'STATUS_UNSPECIFIED',
    conditions: codes.filter((code) => wordOrNone(code) !== undefined && code !== 'OK'),
    upgradePhase: phase === '' || phase === 'PHASE_UNSPECIFIED' ? undefined : wordOrNone(phase),
    isSpot: fieldOf(config, 'spot') === true || fieldOf(config, 'preemptible') === true,
    isFlexStart: fieldOf(config, 'flexStart') === true,
    isQueued: fieldOf(fieldOf(pool, 'queuedProvisioning'), 'enabled') === true,
  };
}

/**
 * Reads the operations that are under way on a cluster. Google lists all of the location, also those that have ended.
 *
 * @returns undefined where the answer is something else
 */
export function toOperations(
  answer: unknown,
  { name, location }: Pick<ClusterName, 'name' | 'location'>,
): GkeOperation[] | undefined {
  return listOf(answer, 'operations')?.flatMap((operation) => {
    const type = wordOrNone(textOf(operation, 'operationType'));
    if (type === undefined || !openStatuses.has(textOf(operation, 'status'))) return [];
    // The link has the number of the project instead of its id.
    const found =
      /\/(?:locations|zones)\/([^/]+)\/clusters\/([^/]+)(?:\/nodePools\/([^/]+))?(?:\/nodes?\/([^/]+))?$/.exec(
        textOf(operation, 'targetLink'),
      );
    if (found?.[1] !== location || found[2] !== name) return [];
    const [, , , pool, node] = found;
    const named = textOf(operation, 'name');
    return [
      {
        type,
        name: /^[\w-]{1,100}$/.test(named) ? named : '',
        since: toMs(textOf(operation, 'startTime')),
        pool,
        node: node !== undefined && /^[a-z0-9.-]{1,253}$/.test(node) ? node : undefined,
      },
    ];
  });
}

const openStatuses = new Set(['PENDING', 'RUNNING', 'ABORTING']);

/** A list of an answer; empty where an object has no such field, undefined where the answer is no object. */
function listOf(value: unknown, field: string): unknown[] | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const list = fieldOf(value, field) ?? [];
  return Array.isArray(list) ? list : undefined;
}

function fieldOf(value: unknown, field: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[field] : undefined;
}

function textOf(value: unknown, field: string): string {
  const text = fieldOf(value, field);
  return typeof text === 'string' ? text : '';
}

/** A word of an enum: nothing else of Google's answers reaches an answer of ours. */
function wordOrNone(text: string): string | undefined {
  return /^[A-Z][A-Z_]{1,60}$/.test(text) ? text : undefined;
}

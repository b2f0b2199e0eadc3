import { resolveCluster } from '../cluster-name.ts';
import type { ClusterName } from '../cluster-name.ts';
import { invalidAction } from '../errors.ts';
import { suggestName } from '../nearest-name.ts';
import { parseFields, textField } from './fields.ts';

/** What a request asks to see. */
export type Read =
  | { kind: 'status'; clusters: ClusterName[] }
  | { kind: 'action'; id: string; clusters: ClusterName[]; waitMs: number }
  | { kind: 'actions'; filter: ActionFilter; clusters: ClusterName[] };

/** Which actions to list. Absent fields are undefined. */
export interface ActionFilter {
  nodePool: string | undefined;
  /** `<namespace>/<JobSet>`, or its last part. */
  jobset: string | undefined;
  state: string | undefined;
  /** In ms since the epoch. */
  since: number | undefined;
  limit: number;
  pageToken: string | undefined;
}

/** The types of a body on `/` that only ask: `gcloud functions call` can send nothing but a POST. */
export const readTypes = ['get_action', 'list_actions'] as const;

/** The type of a body that only asks; undefined for any other body. */
export function readTypeOf(body: unknown): (typeof readTypes)[number] | undefined {
  const type = typeof body === 'object' && body !== null && 'type' in body ? body.type : undefined;
  return readTypes.find((known) => known === type);
}

/**
 * Parses what a GET asks to see.
 *
 * @param path as `pathOf` returns it
 * @throws {FailoverError} `invalid_action` for a parameter that is unknown or wrong; for a cluster that is not configured as
 *   `resolveCluster` does
 */
export function parseRead(path: string, url: string, clusters: ClusterName[]): Read {
  const query = Object.fromEntries(new URLSearchParams(url.split('?').slice(1).join('?')));
  const id = /^\/actions\/([^/]+)$/.exec(path)?.[1];
  if (id !== undefined) return parseGetAction({ ...query, id }, clusters);
  if (path === '/actions') return parseListActions(query, clusters);
  const { cluster } = parseFields({ cluster: fields.cluster }, query, '');
  return { kind: 'status', clusters: chooseClusters(cluster, clusters) };
}

/** Parses a body that only asks. @throws {FailoverError} as {@link parseRead} does */
export function parseReadBody(body: unknown, clusters: ClusterName[]): Read {
  const { type, ...asked } = body as Record<string, unknown>;
  const texts = Object.fromEntries(
    Object.entries(asked).map(([name, value]) => [name, typeof value === 'number' ? String(value) : value]),
  );
  return type === 'get_action' ? parseGetAction(texts, clusters) : parseListActions(texts, clusters);
}

function parseGetAction(given: unknown, clusters: ClusterName[]): Read {
  const { id, wait, cluster } = parseFields(
    { id: fields.id, wait: fields.wait, cluster: fields.cluster },
    given,
    '',
  );
  if (id === undefined) throw invalidAction('id is required');
  return {
    kind: 'action',
    id,
    clusters: chooseClusters(cluster, clusters),
    waitMs: toNumber('wait', wait ?? '0', 0, 240) * 1000,
  };
}

function parseListActions(given: unknown, clusters: ClusterName[]): Read {
  const { cluster, node_pool: nodePool, jobset, ...others } = parseFields(listFields, given, '');
  const { state, since, limit, page_token: pageToken } = others;
  if (state !== undefined && !states.includes(state)) {
    throw invalidAction(`state must be one of ${states.join(', ')}${suggestName(state, states)}`);
  }
  const sinceMs = since === undefined ? undefined : Date.parse(since);
  if (Number.isNaN(sinceMs)) throw invalidAction('since must be a time in RFC 3339');
  return {
    kind: 'actions',
    clusters: chooseClusters(cluster, clusters),
    filter: {
      nodePool,
      jobset,
      state,
      since: sinceMs,
      limit: toNumber('limit', limit ?? '50', 1, 500),
      pageToken,
    },
  };
}

function chooseClusters(given: string | undefined, clusters: ClusterName[]): ClusterName[] {
  return given === undefined ? clusters : [resolveCluster(given, clusters)];
}

function toNumber(name: string, text: string, min: number, max: number): number {
  const number = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN;
  if (number >= min && number <= max) return number;
  throw invalidAction(`${name} must be a whole number from ${min} to ${max}`);
}

const states = ['claimed', 'awaiting_approval', 'planned', 'stopped', 'done', 'settled', 'broken', 'refused'];

const shortText = (rule: string) => textField({ max: 256, rule });

const fields = {
  id: textField({
    max: 160,
    pattern: /^[A-Za-z0-9._-]+$/,
    rule: 'must have 1 to 160 characters of A-Z a-z 0-9 . _ -',
  }),
  wait: shortText('must be a whole number of seconds'),
  cluster: shortText('must be projects/P/locations/L/clusters/C, or its last part'),
};

const listFields = {
  cluster: fields.cluster,
  node_pool: shortText('must be the name of one node pool'),
  jobset: shortText('must be the name of a JobSet, or namespace/name'),
  state: shortText('must be a state'),
  since: shortText('must be a time in RFC 3339'),
  limit: shortText('must be a whole number'),
  page_token: textField({ max: 600, rule: 'must be a page token' }),
};

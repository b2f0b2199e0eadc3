import type { Deadline } from '../clock.ts';
import type { ClusterName } from '../cluster-name.ts';
import { invalidAction, toFailoverError } from '../errors.ts';
import type { ActionFilter } from '../request/reads.ts';
import type { Services } from '../services.ts';
import { listLeases } from '../state/lease.ts';
import { kindLabel } from '../state/record-format.ts';
import { readRefusals } from '../state/refusals.ts';
import { toActionView } from './action-view.ts';
import type { ActionView } from './action-view.ts';

/** The newest actions first. */
export interface ActionList {
  actions: ActionView[];
  /** Where the next page begins; absent on the last page. */
  next_page_token?: string;
  /** Clusters that could not be asked, with the reason. */
  errors?: string[];
}

/**
 * Lists the actions of some clusters, refused requests among them.
 *
 * @throws {FailoverError} `invalid_action` for a page token that is none
 */
export async function listActions(
  filter: ActionFilter,
  clusters: ClusterName[],
  deadline: Deadline,
  { connect }: Pick<Services, 'connect'>,
): Promise<ActionList> {
  const after = filter.pageToken === undefined ? undefined : parsePageToken(filter.pageToken);
  const errors: string[] = [];
  const lists = await Promise.all(
    clusters.map(async (name) => {
      try {
        const connection = await connect(name, deadline);
        try {
          const { kubernetes } = connection;
          const [leases, refusals] = await Promise.all([
            listLeases(kubernetes, `${kindLabel}=action`),
            readRefusals(kubernetes),
          ]);
          const refused = refusals.map((refusal) => ({ ...refusal, cluster: name.fullName }));
          return [...leases.map((lease) => toActionView(lease, name, kubernetes.serverNow())), ...refused];
        } finally {
          connection.close();
        }
      } catch (error) {
        errors.push(`${name.fullName}: ${toFailoverError(error).message}`);
        return [];
      }
    }),
  );
  const matching = lists
    .flat()
    .filter((view) => matches(view, filter))
    .sort((a, b) => compare(toKey(b), toKey(a)))
    .filter((view) => after === undefined || compare(toKey(view), after) < 0);
  const actions = matching.slice(0, filter.limit);
  const last = actions.at(-1);
  return {
    actions,
    ...(last && matching.length > actions.length ? { next_page_token: toPageToken(toKey(last)) } : {}),
    ...(errors.length > 0 ? { errors } : {}),
  };
}

function matches(view: ActionView, { nodePool, jobset, state, since }: ActionFilter): boolean {
  return (
    (nodePool === undefined || view.node_pool === nodePool) &&
    (jobset === undefined || view.jobset === jobset || view.jobset?.split('/')[1] === jobset) &&
    (state === undefined || view.state === state) &&
    (since === undefined || Date.parse(view.received_at) >= since)
  );
}

/** The order of the list: by time, then by what tells two of one moment apart. */
function toKey({ received_at: at, id, state }: ActionView): string {
  return `${at}|${state === 'refused' ? 0 : 1}|${id}`;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function toPageToken(key: string): string {
  return Buffer.from(key).toString('base64url');
}

function parsePageToken(token: string): string {
  const key = Buffer.from(token, 'base64url').toString();
  if (/^\d{4}-\d\d-\d\dT[\d:.]+Z\|[01]\|/.test(key)) return key;
  throw invalidAction('page_token is none that this list gave out');
}

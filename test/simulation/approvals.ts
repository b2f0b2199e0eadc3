import type { Action } from '../../src/request/action.ts';
import type { ClusterView } from './world-view.ts';
import type { SentCall } from './function-instance.ts';
import type { Violate } from './promises.ts';

/** Nothing is done for an action that needs an approval before somebody has approved the very plan that is carried out. */
export class Approvals {
  readonly #cluster: ClusterView;
  readonly #violate: Violate;
  readonly #needing = new Set<string>();
  /** The hashes that somebody has sent, by the action's id. */
  readonly #sent = new Map<string, Set<string>>();

  constructor(cluster: ClusterView, violate: Violate) {
    this.#cluster = cluster;
    this.#violate = violate;
  }

  onAction({ id, approval }: Action): void {
    if (approval === 'required') this.#needing.add(id);
  }

  /** Somebody sends an approval. */
  onApproval(id: string, plan: string): void {
    this.#sent.set(id, (this.#sent.get(id) ?? new Set()).add(plan));
  }

  /** A node is written, or something is deleted. */
  onWrite({ actionId: id, method, path }: SentCall): void {
    if (!this.#needing.has(id)) return;
    const annotations = this.#cluster
      .leases()
      .find(({ metadata }) => metadata.annotations?.['autometric-failover/id'] === id)?.metadata.annotations;
    const read = (key: string) =>
      JSON.parse(annotations?.[`autometric-failover/${key}`] ?? '{}') as Record<string, string | undefined>;
    const { by, plan = '' } = read('approval');
    const phase = annotations?.['autometric-failover/phase'];
    const verdict = read('verdict')['verdict'];
    const isSent = this.#sent.get(id)?.has(plan) === true;
    if (by !== undefined && isSent && phase === 'planned' && verdict === undefined) return;
    const state = `${phase}, approved by ${by ?? 'nobody'}${isSent ? '' : ', for a plan that nobody approved'}`;
    this.#violate('approved-first', `${id} sends ${method} ${path} (${state}, verdict ${verdict ?? 'none'})`);
  }
}

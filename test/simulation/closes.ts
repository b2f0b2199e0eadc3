import type { Action } from '../../src/request/action.ts';
import type { ClusterView } from './world-view.ts';
import type { SentCall } from './function-instance.ts';
import type { Violate } from './promises.ts';
import { isCordon, isRelease, nodePath } from './sent-calls.ts';

const recordPath = /\/leases\/action-[^/]+$/;

/** Nodes that an action wants cordoned, by uid. */
interface Wish {
  nodes: Set<string>;
  isDone: boolean;
}

/**
 * Never does the close of an incident release a node that another action still wants cordoned, and never does an incident act
 * once its close was answered.
 */
export class Closes {
  readonly #cluster: ClusterView;
  readonly #violate: Violate;
  readonly #wishes = new Map<string, Wish>();
  /** Actions whose incident releases the pool when it closes. */
  readonly #incidents = new Set<string>();
  /** Incidents whose close was sent. */
  readonly #closing = new Set<string>();
  readonly #closedAt = new Map<string, number>();
  readonly #firstCalls = new Map<number, number>();

  constructor(cluster: ClusterView, violate: Violate) {
    this.#cluster = cluster;
    this.#violate = violate;
  }

  /** An action is sent. */
  onAction({ id, incident }: Action): void {
    if (incident?.uncordonsOnClose === true) this.#incidents.add(id);
    if (incident?.isClosed) this.#closing.add(incident.id);
  }

  /** An action was answered with its steps. */
  onDone({ id }: Action): void {
    const wish = this.#wishes.get(id);
    if (wish) wish.isDone = true;
  }

  /** The close of an incident was acknowledged. */
  onClosed({ incident }: Action, at: number): void {
    if (incident && !this.#closedAt.has(incident.id)) this.#closedAt.set(incident.id, at);
  }

  /** Forgets what is not cordoned any more: whoever released it, nobody wants it cordoned from before. */
  prune(): void {
    if (this.#wishes.size === 0) return;
    const cordoned = new Set(this.#listCordoned());
    for (const { nodes } of this.#wishes.values()) {
      for (const uid of nodes) if (!cordoned.has(uid)) nodes.delete(uid);
    }
  }

  onSend(call: SentCall, action: Action | undefined, nodePool: string | undefined): void {
    if (!this.#firstCalls.has(call.invocation)) this.#firstCalls.set(call.invocation, call.at);
    if (!action || nodePool === undefined) return;
    if (call.method === 'PUT' && recordPath.test(call.path)) this.#noteWish(call, action, nodePool);
    if (isCordon(call) || isRelease(call)) this.prune();
    if (isRelease(call)) this.#checkRelease(call, action);
  }

  /** A node is cordoned, the run is restarted, or a machine is deleted. */
  onDeed(call: SentCall, { id, incident }: Action): void {
    const closedAt = incident && !incident.isClosed ? this.#closedAt.get(incident.id) : undefined;
    const sentAt = this.#firstCalls.get(call.invocation) ?? 0;
    if (closedAt !== undefined && sentAt > closedAt) {
      this.#violate(
        'closed-is-over',
        `${id} sends ${call.method} ${call.path} for an incident that has closed`,
      );
    }
  }

  /** The answer is recorded while the pool's lock is held, so what is cordoned then is what the action wants. */
  #noteWish(call: SentCall, { id, effects }: Action, nodePool: string): void {
    const body = call.body as { metadata?: { annotations?: Record<string, string> } } | undefined;
    const annotations = body?.metadata?.annotations ?? {};
    const answer = annotations['autometric-failover/answer'] ?? '';
    if (!effects.cordon || annotations['autometric-failover/phase'] !== 'done') return;
    if (!answer.includes('"step":"cordon"')) return;
    this.#wishes.set(id, { nodes: new Set(this.#listCordoned(nodePool)), isDone: false });
  }

  #checkRelease({ path }: SentCall, action: Action): void {
    const [, name = ''] = nodePath.exec(path) ?? [];
    const uid = this.#cluster.get('nodes', undefined, name)?.metadata.uid ?? '';
    const isClose = action.incident?.isClosed === true;
    const isFollowUp = action.id.endsWith('.uncordon');
    for (const [id, { nodes, isDone }] of this.#wishes) {
      if (!nodes.delete(uid) || !isDone || this.#closing.has(id)) continue;
      // What follows from a repair asks only incidents that release the pool when they close, and not its own.
      const isHeld = isFollowUp && this.#incidents.has(id) && !action.id.startsWith(`${id}.`);
      if (!isClose && !isHeld) continue;
      this.#violate('holds-hold', `${action.id} releases ${name}, which ${id} still wants cordoned`);
    }
  }

  #listCordoned(nodePool?: string): string[] {
    return this.#cluster
      .nodes(nodePool)
      .filter(({ spec }) => spec.unschedulable === true)
      .map(({ metadata }) => metadata.uid ?? '');
  }
}

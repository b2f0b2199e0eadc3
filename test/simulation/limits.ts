import type { SentCall } from './function-instance.ts';
import type { Violate } from './promises.ts';
import { isCordon } from './sent-calls.ts';

const clusterLeasePath = /\/leases\/cluster$/;
const hourMs = 3_600_000;
/** A pool is charged when its action begins. What an instance that was frozen does may come that much later. */
const longestActionMs = 1_200_000;

/** Never more pools within an hour than the budget allows, and nothing while failover is paused. */
export class Limits {
  readonly #violate: Violate;
  readonly #maxPools: number;
  /** When each invocation looked at the pause. */
  readonly #looks = new Map<number, number[]>();
  readonly #deeds: { call: SentCall; nodePool: string }[] = [];
  #pausedSince: number | undefined;
  #lastLook: SentCall | undefined;

  constructor(maxPools: number, violate: Violate) {
    this.#maxPools = maxPools;
    this.#violate = violate;
  }

  onPause(since: number | undefined): void {
    this.#pausedSince = since;
  }

  onSend(call: SentCall): void {
    const { invocation, method, path, at } = call;
    // Those who watch different parts of the cluster may all tell of it.
    if (method !== 'GET' || !clusterLeasePath.test(path) || call === this.#lastLook) return;
    this.#lastLook = call;
    this.#looks.set(invocation, [...(this.#looks.get(invocation) ?? []), at]);
  }

  /** A node is cordoned, the run is restarted, or a machine is deleted. */
  onDeed(call: SentCall, nodePool: string): void {
    this.#deeds.push({ call, nodePool });
    // One look decides, and there is another one before what cannot be undone.
    if (isCordon(call) || (this.#looks.get(call.invocation) ?? []).length > 1) return;
    this.#violate(
      'pause-holds',
      `${call.actionId} sends ${call.method} ${call.path} without another look at the pause`,
    );
  }

  /** A node is cordoned, or anything is deleted. */
  onWrite(call: SentCall): void {
    const readAt = this.#looks.get(call.invocation)?.at(-1);
    if (readAt === undefined) {
      this.#violate(
        'pause-holds',
        `${call.actionId} sends ${call.method} ${call.path} without a look at the pause`,
      );
    } else if (this.#pausedSince !== undefined && readAt >= this.#pausedSince) {
      this.#violate(
        'pause-holds',
        `${call.actionId} sends ${call.method} ${call.path} though failover is paused`,
      );
    }
  }

  conclude(): void {
    const done = this.#deeds.filter(({ call }) => call.status === 200);
    for (const { call } of done) {
      const until = call.at + hourMs - longestActionMs;
      const pools = new Set(
        done
          .filter((other) => other.call.at >= call.at && other.call.at < until)
          .map(({ nodePool }) => nodePool),
      );
      if (pools.size <= this.#maxPools) continue;
      this.#violate(
        'budget-holds',
        `${[...pools].join(', ')} were acted on within the hour, with a budget of ${this.#maxPools}`,
      );
      return;
    }
  }
}

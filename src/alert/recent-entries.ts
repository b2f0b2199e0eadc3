import { Ignored } from '../ignored.ts';
import { parseIncident } from './notification.ts';
import type { Notification } from './notification.ts';

/** Entries of one rule about one machine within this time are about one fault. */
const sameFaultMs = 60_000;

/** No more machines than this are remembered; the oldest is forgotten first. */
const maxMachines = 4096;

/**
 * What an instance remembers of the log entries that it took, because a log sink has no rate limit: one fault can write
 * its line thousands of times. It only saves calls. What is forgotten, or known to another instance, meets the cooldown.
 */
export class RecentEntries {
  readonly #first = new Map<string, { id: string; at: number }>();

  /**
   * Lets through every notification, and of log entries the first one of a fault, and that one again when Pub/Sub redelivers it.
   *
   * @throws {Ignored} for every further one
   */
  admit(notification: Notification): void {
    if (!notification.isLogEntry) return;
    const { id, startedAt, policyName, resourceType, resourceLabels } = parseIncident(notification);
    const key = JSON.stringify([
      policyName,
      resourceType,
      Object.entries(resourceLabels).sort(([a], [b]) => (a < b ? -1 : 1)),
    ]);
    const first = this.#first.get(key);
    // By the entries' own times: a later fault of a machine that came back is another one.
    if (first && first.id !== id && Math.abs(startedAt - first.at) < sameFaultMs) {
      throw new Ignored(
        `the same: ${policyName} took an entry of this machine within a minute, see ${first.id}`,
      );
    }
    if (first?.id === id) return;
    this.#first.delete(key);
    this.#first.set(key, { id, at: startedAt });
    const [oldest] = this.#first.keys();
    if (this.#first.size > maxMachines && oldest !== undefined) this.#first.delete(oldest);
  }
}

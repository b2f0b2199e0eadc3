import type { Deadline } from '../clock.ts';
import type { Gate } from '../gke/retry.ts';

/** A gate that remembers whether it has let anything through: until then, nothing was sent. */
export interface WatchedGate {
  gate: Gate;
  isPassed: () => boolean;
}

/** Watches the gate of one deletion. A gate may renew the lock, so the deadline may pass in it. */
export function watchGate(gate: Gate, deadline: Deadline): WatchedGate {
  let isPassed = false;
  return {
    async gate() {
      const allowedMs = await gate();
      deadline.assertTimeLeft();
      isPassed = true;
      return allowedMs;
    },
    isPassed: () => isPassed,
  };
}

import type { RecordedStep } from '../../src/step.ts';
import type { SentCall } from './function-instance.ts';
import { isMachineDeletion } from './sent-calls.ts';

/** A call that ends an attempt of the JobSet: the deletion of its leader, or its Job's deadline. */
interface End {
  attempt: string;
  call: SentCall;
}

/** What an API answers to a deletion that it carried out, or of something that was gone. */
const deedStatuses = [200, 404, 409, 422];

/**
 * Holds what is answered against what was sent: nobody may be told that another action has repaired the machine or restarted
 * the JobSet unless a deletion of another action was answered so before.
 */
export class Deeds {
  readonly #calls: SentCall[];
  readonly #ends: End[] = [];
  readonly #violate: (what: string) => void;

  constructor(calls: SentCall[], violate: (what: string) => void) {
    this.#calls = calls;
    this.#violate = violate;
  }

  onEnd(end: End): void {
    this.#ends.push(end);
  }

  /** Never `already_restarted` without a deed, and no deed where the machine is left to GKE. */
  onSteps(actionId: string, steps: RecordedStep[]): void {
    for (const step of steps) {
      const isLeft = ['gke_is_repairing', 'node_leaving', 'under_maintenance'].includes(
        String(step['outcome']),
      );
      if (isLeft && this.#calls.some((call) => isMachineDeletion(call) && call.actionId === actionId)) {
        this.#violate(`${actionId} left the machine of ${step.target} to GKE, and deleted one`);
      }
      if (step['outcome'] !== 'already_restarted') continue;
      const attempt = String(step['attempt']);
      const isDone = this.#ends.some(
        (end) => end.call.actionId !== actionId && end.attempt === attempt && isDeed(end.call),
      );
      if (isDone) continue;
      this.#violate(`${actionId} is told that attempt ${attempt} was restarted, which nobody did`);
    }
  }

  /** Never `handled` without a deed. */
  onIgnored(actionId: string, message: string): void {
    const [, other] = /^handled: .* is being repaired by action (\S+) since/.exec(message) ?? [];
    if (other === undefined) return;
    const isDone = this.#calls.some(
      (call) => isMachineDeletion(call) && call.actionId === other && (isDeed(call) || call.status === 400),
    );
    if (!isDone) this.#violate(`${actionId} is told that ${other} repairs the machine, which it does not`);
  }
}

function isDeed({ status }: SentCall): boolean {
  return status !== undefined && deedStatuses.includes(status);
}

import type { RecordedStep } from '../../src/step.ts';
import type { End } from './deeds.ts';
import type { SentCall } from './function-instance.ts';
import type { Violate } from './promises.ts';
import { isCordon, isMachineDeletion } from './sent-calls.ts';

/** What an API answers to a deletion that it carried out, or of something that an earlier try may have deleted. */
const deedStatuses = [200, 404, 409, 422];

/** An answer says what the action has done: no more, and no less; and the same id gets the same answer. */
export class Answers {
  readonly #calls: SentCall[];
  /** Every end of an attempt. */
  readonly #ends: End[];
  /** Those that are restarts, and not the freeing of a pod on a dead node. */
  readonly #restarts: End[];
  readonly #violate: Violate;
  readonly #given = new Map<string, string>();

  constructor(sent: { calls: SentCall[]; ends: End[]; restarts: End[] }, violate: Violate) {
    this.#calls = sent.calls;
    this.#ends = sent.ends;
    this.#restarts = sent.restarts;
    this.#violate = violate;
  }

  /** An action was answered with success. */
  onDone(id: string, steps: RecordedStep[]): void {
    const text = JSON.stringify(steps.filter(({ step }) => step !== 'notice').map(withoutFreed));
    const before = this.#given.get(id) ?? text;
    this.#given.set(id, before);
    if (text !== before) this.#lie(id, `is answered ${text} after ${before}`);
    // An alert that is over by the time that it is carried on is answered with a notice instead.
    const isNotice = steps.length > 0 && steps.every(({ step }) => step === 'notice');
    if (isNotice) return;
    const of = (name: string) => steps.find(({ step }) => step === name);
    this.#checkCordon(id, of('cordon'));
    this.#checkRestart(id, of('restart'));
    this.#checkRepair(id, of('repair'));
  }

  #checkCordon(id: string, step: RecordedStep | undefined): void {
    const sent = this.#calls.filter(
      (call) => call.actionId === id && isCordon(call) && (call.status ?? 0) === 200,
    );
    const count = new Set(sent.map(({ body }) => toUid(body))).size;
    const said = Number(step?.['cordoned'] ?? 0);
    if (said > count) this.#lie(id, `says that it cordoned ${said} nodes, and cordoned ${count}`);
    if (count > 0 && !step) this.#lie(id, `cordoned ${count} nodes and does not say so`);
  }

  #checkRestart(id: string, step: RecordedStep | undefined): void {
    const outcome = String(step?.['outcome']);
    const isOwn = ({ call }: End) => call.actionId === id;
    const isSent = this.#ends.some(
      (end) =>
        isOwn(end) &&
        end.attempt === String(step?.['attempt']) &&
        deedStatuses.includes(end.call.status ?? 0),
    );
    if (outcome === 'restarted' && !isSent) this.#lie(id, 'says restarted, and restarted nothing');
    const isEnded = this.#restarts.some((end) => isOwn(end) && end.call.status === 200);
    if (isEnded && !['restarted', 'already_restarting'].includes(outcome)) {
      this.#lie(id, `restarted the run, and says ${outcome}`);
    }
  }

  #checkRepair(id: string, step: RecordedStep | undefined): void {
    const outcome = String(step?.['outcome']);
    const isDeleted = this.#calls.some(
      (call) => call.actionId === id && isMachineDeletion(call) && call.status === 200,
    );
    if (outcome === 'deletion_accepted' && !isDeleted) this.#lie(id, 'says deletion_accepted, and none was');
    if (isDeleted && !['deletion_accepted', 'already_gone', 'already_repairing'].includes(outcome)) {
      this.#lie(id, `deleted a machine, and says ${outcome}`);
    }
  }

  #lie(id: string, what: string): void {
    this.#violate('answers-are-true', `${id} ${what}`);
  }
}

/** A replay may add which pods it has freed since. */
function withoutFreed(step: RecordedStep): object {
  const freed = ['deleted_on_dead_nodes', 'may_hold_up_the_restart'];
  return Object.fromEntries(Object.entries(step).filter(([field]) => !freed.includes(field)));
}

function toUid(body: unknown): string | undefined {
  return (body as { metadata?: { uid?: string } } | undefined)?.metadata?.uid;
}

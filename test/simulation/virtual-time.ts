/**
 * Time that passes only when nothing else is left to do: events run in order of their time, and what they set off runs
 * to its end before the next one. So an interleaving is the same each time it is run.
 */
export class VirtualTime {
  /** Milliseconds since the epoch. */
  now: number;
  #events: { at: number; order: number; run: () => void }[] = [];
  #order = 0;

  constructor(now: number) {
    this.now = now;
  }

  /** Runs something at a time, or now if that is past. */
  at(time: number, run: () => void): void {
    const event = { at: Math.max(time, this.now), order: this.#order++, run };
    // Few events wait at once, so a sorted insert is all that it needs.
    let index = this.#events.length;
    while (index > 0 && isLater(this.#events[index - 1], event)) index--;
    this.#events.splice(index, 0, event);
  }

  after(ms: number, run: () => void): void {
    this.at(this.now + ms, run);
  }

  /**
   * Runs events until `isDone`, or none is left.
   *
   * @throws {Error} when the events never end
   */
  async run(isDone: () => boolean, maxEvents = 200_000): Promise<void> {
    for (let count = 0; ; count++) {
      await settle();
      if (isDone()) return;
      const event = this.#events.shift();
      if (!event) return;
      if (count > maxEvents) throw new Error(`more than ${maxEvents} events: something never ends`);
      this.now = event.at;
      event.run();
    }
  }

  /** Runs all events up to a time, and then it is that time. */
  async advanceTo(time: number): Promise<void> {
    let isOver = false;
    this.at(time, () => (isOver = true));
    await this.run(() => isOver);
  }
}

function isLater(a: { at: number; order: number } | undefined, b: { at: number; order: number }): boolean {
  return a !== undefined && (a.at > b.at || (a.at === b.at && a.order > b.order));
}

/** Lets every promise that can go on do so. */
async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

/** A generator of numbers in [0, 1) that gives the same ones for the same seed (mulberry32). */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Lets so many things be under way at a time, first come, first served. */
export class Turns {
  #free: number;
  #isOver = false;
  readonly #queue: ((hasTurn: boolean) => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  /** No turn is given any more. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Waits for a turn; false where there will be none, for it is over. */
  take(): Promise<boolean> {
    if (this.#isOver) return Promise.resolve(false);
    if (this.#free === 0) return new Promise((resolve) => this.#queue.push(resolve));
    this.#free--;
    return Promise.resolve(true);
  }

  /** Gives a turn back. */
  give(): void {
    const next = this.#queue.shift();
    if (next) next(true);
    else this.#free++;
  }

  /** Gives no more turns; those that have one go on. */
  end(): void {
    this.#isOver = true;
    for (const waiting of this.#queue.splice(0)) waiting(false);
  }
}

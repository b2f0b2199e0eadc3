/** Lets so many things be under way at a time, first come, first served. */
export class Semaphore {
  #free: number;
  #isOver = false;
  readonly #queue: ((isAcquired: boolean) => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  /** No turn is given any more. */
  get isClosed(): boolean {
    return this.#isOver;
  }

  /** Waits for a turn; false where there will be none, for it is over. */
  acquire(): Promise<boolean> {
    if (this.#isOver) return Promise.resolve(false);
    if (this.#free === 0) return new Promise((resolve) => this.#queue.push(resolve));
    this.#free--;
    return Promise.resolve(true);
  }

  /** Gives a turn back. */
  release(): void {
    const next = this.#queue.shift();
    if (next) next(true);
    else this.#free++;
  }

  /** Gives no more turns; those that have one go on. */
  close(): void {
    this.#isOver = true;
    for (const waiting of this.#queue.splice(0)) waiting(false);
  }
}

/** What came of an item: a value, or what was thrown. */
export type Settled<Result> = { value: Result } | { error: unknown };

/**
 * Works on items, as many at a time as there are semaphore. After a failure nothing new is started, and it waits for what is
 * under way: no write may be in flight once the lock is given back.
 *
 * @returns what came of those that were started, in the items' order
 */
export async function mapWithSemaphore<Item, Result>(
  semaphore: Semaphore,
  items: Item[],
  work: (item: Item) => Promise<Result>,
): Promise<Settled<Result>[]> {
  const settle = async (item: Item): Promise<Settled<Result>> => {
    try {
      return { value: await work(item) };
    } catch (error) {
      semaphore.close();
      return { error };
    } finally {
      semaphore.release();
    }
  };
  const started: Promise<Settled<Result>>[] = [];
  for (const item of items) {
    if (!(await semaphore.acquire())) break;
    started.push(settle(item));
  }
  return Promise.all(started);
}

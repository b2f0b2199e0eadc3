/** A FIFO semaphore: at most `count` holders at a time. */
export class Semaphore {
  #free: number;
  #isClosed = false;
  readonly #queue: ((isAcquired: boolean) => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  /** True once {@link close} was called: nobody can acquire the semaphore any more. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Waits for a slot. Resolves to false once the semaphore is closed. */
  acquire(): Promise<boolean> {
    if (this.#isClosed) return Promise.resolve(false);
    if (this.#free === 0) return new Promise((resolve) => this.#queue.push(resolve));
    this.#free--;
    return Promise.resolve(true);
  }

  /** Releases a slot. */
  release(): void {
    const next = this.#queue.shift();
    if (next) next(true);
    else this.#free++;
  }

  /** Gives out no more slots. Those who hold one keep it. */
  close(): void {
    this.#isClosed = true;
    for (const waiting of this.#queue.splice(0)) waiting(false);
  }
}

/** The result of an item: the value, or what was thrown. */
export type Settled<Result> = { value: Result } | { error: unknown };

/**
 * Works on items, each while it holds a slot of the semaphore. After a failure it starts no further item, and always waits
 * for those in progress: no write may still be in flight when the lock is released.
 *
 * @returns the results of the items that were started, in the order of the items
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

/**
 * Lets something be read before it is known whether it is needed. What fails then fails only for whoever waits for it.
 *
 * @returns the same promise
 */
export function ahead<T>(reading: Promise<T>): Promise<T> {
  reading.catch(() => undefined);
  return reading;
}

/**
 * Waits for all, also where one fails: no write may still be under way when a lock is released.
 *
 * @throws what the first of them, in their order, has thrown
 */
export async function waitForAll<const Each extends readonly unknown[]>(
  all: Each,
): Promise<{ -readonly [index in keyof Each]: Awaited<Each[index]> }> {
  const settled = await Promise.allSettled(all);
  for (const each of settled) if (each.status === 'rejected') throw each.reason;
  return settled.map((each) => (each as PromiseFulfilledResult<unknown>).value) as {
    -readonly [index in keyof Each]: Awaited<Each[index]>;
  };
}

import { isUpstreamStatus, UpstreamError } from '../errors.ts';
import { answerUnreadable } from './kubernetes-error.ts';

/** One page of a Kubernetes list, as the generated client returns it. */
export interface ListPage<Item> {
  kind?: string;
  items?: Item[] | null;
  metadata?: { _continue?: string };
}

/**
 * Reads a whole list in pages of 500. If the server has dropped the rest of the list (410), it starts again, at most three
 * times.
 *
 * @param reduce keeps a part of each item, before the next page is read
 * @throws {UpstreamError} also if the answer is not a list: an empty object must not count as an empty pool
 */
export async function listAll<Item, Kept = Item>(
  readPage: (page: { limit: number; _continue?: string }) => Promise<ListPage<Item>>,
  reduce: (item: Item) => Kept = (item) => item as unknown as Kept,
): Promise<Kept[]> {
  for (let restarts = 0; ; restarts++) {
    try {
      const kept: Kept[] = [];
      let rest: string | undefined;
      do {
        const page = await readPage({ limit: 500, ...(rest ? { _continue: rest } : {}) });
        for (const item of toItems(page)) kept.push(reduceSafely(item, reduce));
        rest = page.metadata?._continue || undefined;
      } while (rest);
      return kept;
    } catch (error) {
      if (!isUpstreamStatus(error, 410) || restarts >= 3) throw error;
    }
  }
}

/**
 * Reads a list that is short.
 *
 * @returns undefined if it has more than `atMost` items
 * @throws {UpstreamError} also if the answer is not a list
 */
export async function listFew<Item, Kept>(
  readPage: (page: { limit: number }) => Promise<ListPage<Item>>,
  atMost: number,
  reduce: (item: Item) => Kept,
): Promise<Kept[] | undefined> {
  const page = await readPage({ limit: atMost });
  const items = toItems(page);
  return page.metadata?._continue ? undefined : items.map((item) => reduceSafely(item, reduce));
}

function toItems<Item>({ kind, items }: ListPage<Item>): Item[] {
  if (kind?.endsWith('List')) return items ?? [];
  throw new UpstreamError({ api: 'Kubernetes API', call: 'list', status: 200, reason: 'without a list' });
}

/** @throws {UpstreamError} where an item has a field of another type than the API's */
function reduceSafely<Item, Kept>(item: Item, reduce: (item: Item) => Kept): Kept {
  try {
    return reduce(item);
  } catch (error) {
    throw error instanceof TypeError ? answerUnreadable('list', error) : error;
  }
}

const itemsKey = '"items":[';

/** As long as `{"metadata":`, with which each item of a list begins. */
const openingLength = 12;

/**
 * Parses the text of a Kubernetes list one item at a time, and keeps a part of each. What is parsed and dropped at once costs
 * nearly nothing. A page of megabytes that is in memory as objects makes V8 raise the room for young objects, and that stays
 * raised.
 *
 * It cuts where one item seems to end and the next one to begin. A wrong cut is no valid JSON, because no part of the text of
 * an object is the text of an object that begins at the same place.
 *
 * @returns undefined if the text cannot be cut so; then it must be parsed as a whole, which also says what is wrong with it
 */
export function parseInParts<Kept>(
  text: string,
  reduce: (item: unknown) => Kept,
): { items: Kept[] } | undefined {
  const key = text.indexOf(itemsKey);
  if (key === -1) return undefined;
  const start = key + itemsKey.length;
  const end = text.lastIndexOf(']');
  const between = `},${text.slice(start, start + openingLength)}`;
  const items: Kept[] = [];
  try {
    const list = JSON.parse(text.slice(0, start) + text.slice(end)) as object;
    for (let from = start; from < end;) {
      const found = text.indexOf(between, from);
      const to = found === -1 ? end : found + 1;
      items.push(reduce(JSON.parse(text.slice(from, to))));
      from = to + 1;
    }
    return { ...list, items };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return undefined;
  }
}

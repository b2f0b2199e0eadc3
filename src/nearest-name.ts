/**
 * Returns the end of a message that refuses a name: which known name it probably means, and all known names.
 *
 * @param known at most 20 of them are listed
 */
export function suggestName(given: string, known: readonly string[], what = 'known'): string {
  if (known.length === 0) return '';
  const nearest = nearestName(given, known);
  const listed = known.slice(0, 20).join(', ') + (known.length > 20 ? ', …' : '');
  return `${nearest === undefined ? '' : `, did you mean ${nearest}?`}; ${what}: ${listed}`;
}

/** Finds the known name that a misspelt one probably means; undefined if none is close. */
export function nearestName(given: string, known: readonly string[]): string | undefined {
  const plain = (name: string) => name.toLowerCase().replaceAll(/[^a-z0-9]/g, '');
  const wanted = plain(given);
  const isPart = (name: string) => wanted.length >= 4 && plain(name).includes(wanted);
  const isNear = (name: string, distance: number) => distance <= Math.max(2, Math.floor(name.length / 3));
  const [best] = known
    .map((name) => ({ name, distance: editDistance(wanted, plain(name)) }))
    .filter(({ name, distance }) => isPart(name) || isNear(name, distance))
    .sort((a, b) => a.distance - b.distance);
  return best?.name;
}

/** Computes the Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, substitution));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

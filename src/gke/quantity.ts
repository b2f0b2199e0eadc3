const factors = new Map<string, number>([
  ['', 1],
  ...['n', 'u', 'm'].map((suffix, index): [string, number] => [suffix, 1000 ** (index - 3)]),
  ...['k', 'M', 'G', 'T', 'P', 'E'].map((suffix, index): [string, number] => [suffix, 1000 ** (index + 1)]),
  ...['Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'].map((suffix, index): [string, number] => [
    suffix,
    1024 ** (index + 1),
  ]),
]);

/** Reads a quantity of a resource, such as `4`, `250m` or `16Gi`; NaN for what is none. */
export function toQuantity(text: string | number): number {
  const [, digits, suffix = ''] = /^([+-]?[\d.]+(?:[eE][+-]?\d+)?)([a-zA-Z]*)$/.exec(String(text)) ?? [];
  return Number(digits) * (factors.get(suffix) ?? Number.NaN);
}

const factors: Record<string, number> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** Reads a quantity of a resource: `4`, `250m`, `16393244Ki`, `1e3`. @throws Error for what is none */
export function parseQuantity(text: string | number): number {
  if (text !== '' && !Number.isNaN(Number(text))) return Number(text);
  const [, digits = '', suffix = ''] =
    /^([+-]?[\d.]+(?:[eE][+-]?\d+)?)([numkMGTPE]?|[KMGTPE]i)$/.exec(String(text)) ?? [];
  const factor = factors[suffix];
  if (digits === '' || factor === undefined) throw new Error(`not a quantity: ${text}`);
  return Number(digits) * factor;
}

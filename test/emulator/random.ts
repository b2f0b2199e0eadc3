/** Names, uids and chances from a seed, so that a run can be repeated exactly. Not for secrets. */
export class Random {
  #state: number;

  constructor(seed = 1) {
    this.#state = seed >>> 0;
  }

  /** A number in [0, 1): mulberry32. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  pick(alphabet: string, length: number): string {
    let text = '';
    for (let i = 0; i < length; i++) text += alphabet[Math.floor(this.next() * alphabet.length)];
    return text;
  }

  /** The five characters that the API server appends to a generateName. */
  suffix(): string {
    return this.pick('bcdfghjklmnpqrstvwxz2456789', 5);
  }

  uuid(): string {
    const hex = this.pick('0123456789abcdef', 30);
    const variant = this.pick('89ab', 1);
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(12, 15)}-${variant}${hex.slice(15, 18)}-${hex.slice(18, 30)}`;
  }

  /** A Compute resource id: 18 or 19 digits, too large for a JavaScript number, as the real ones are. */
  numericId(): string {
    return this.pick('123456789', 1) + this.pick('0123456789', 18);
  }
}

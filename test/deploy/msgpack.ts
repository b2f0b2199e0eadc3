/** What is not known before it is applied, as Terraform says it. */
export const unknown: unique symbol = Symbol('unknown');

export type Value = null | boolean | number | string | typeof unknown | Value[] | { [name: string]: Value };

/** Encodes a value of Terraform. A value that is not known is the extension type 0. */
export function encode(value: Value): Buffer {
  if (value === null) return Buffer.from([0xc0]);
  if (value === unknown) return Buffer.from([0xd4, 0, 0]);
  if (typeof value === 'boolean') return Buffer.from([value ? 0xc3 : 0xc2]);
  if (typeof value === 'number') return encodeNumber(value);
  if (typeof value === 'string') {
    const text = Buffer.from(value);
    return Buffer.concat([withLength(0xdb, text.length), text]);
  }
  if (Array.isArray(value)) {
    return Buffer.concat([withLength(0xdd, value.length), ...value.map((item) => encode(item))]);
  }
  const entries = Object.entries(value);
  return Buffer.concat([
    withLength(0xdf, entries.length),
    ...entries.flatMap(([name, item]) => [encode(name), encode(item)]),
  ]);
}

function withLength(type: number, length: number): Buffer {
  const header = Buffer.alloc(5, type);
  header.writeUInt32BE(length, 1);
  return header;
}

function encodeNumber(value: number): Buffer {
  const header = Buffer.alloc(9, Number.isSafeInteger(value) ? 0xd3 : 0xcb);
  if (Number.isSafeInteger(value)) header.writeBigInt64BE(BigInt(value), 1);
  else header.writeDoubleBE(value, 1);
  return header;
}

/**
 * Decodes what {@link encode} and Terraform write.
 *
 * @throws {Error} at a type that Terraform does not use
 */
export function decode(bytes: Buffer): Value {
  let at = 0;
  const skip = (length: number) => (at += length) - length;
  const unsigned = (size: number) => bytes.readUIntBE(skip(size), size);
  const text = (length: number) => bytes.toString('utf8', skip(length), at);
  const list = (length: number) => Array.from({ length }, () => read());
  const map = (length: number) =>
    Object.fromEntries(Array.from({ length }, () => [read() as string, read()] as const));
  const extension = (length: number): Value => {
    skip(1 + length);
    return unknown;
  };
  function read(): Value {
    const type = unsigned(1);
    if (type <= 0x7f) return type;
    if (type <= 0x8f) return map(type & 0x0f);
    if (type <= 0x9f) return list(type & 0x0f);
    if (type <= 0xbf) return text(type & 0x1f);
    if (type >= 0xe0) return type - 0x100;
    const readers: Record<number, () => Value> = {
      0xc0: () => null,
      0xc2: () => false,
      0xc3: () => true,
      0xc7: () => extension(unsigned(1)),
      0xca: () => bytes.readFloatBE(skip(4)),
      0xcb: () => bytes.readDoubleBE(skip(8)),
      0xcc: () => unsigned(1),
      0xcd: () => unsigned(2),
      0xce: () => unsigned(4),
      0xcf: () => Number(bytes.readBigUInt64BE(skip(8))),
      0xd0: () => bytes.readInt8(skip(1)),
      0xd1: () => bytes.readInt16BE(skip(2)),
      0xd2: () => bytes.readInt32BE(skip(4)),
      0xd3: () => Number(bytes.readBigInt64BE(skip(8))),
      0xd4: () => extension(1),
      0xd5: () => extension(2),
      0xd6: () => extension(4),
      0xd7: () => extension(8),
      0xd8: () => extension(16),
      0xd9: () => text(unsigned(1)),
      0xda: () => text(unsigned(2)),
      0xdb: () => text(unsigned(4)),
      0xdc: () => list(unsigned(2)),
      0xdd: () => list(unsigned(4)),
      0xde: () => map(unsigned(2)),
      0xdf: () => map(unsigned(4)),
    };
    const reader = readers[type];
    if (!reader) throw new Error(`msgpack type 0x${type.toString(16)}`);
    return reader();
  }
  return read();
}

import { crc32, deflateRawSync } from 'node:zlib';

/** Packs files into a zip. The same files make the same bytes: their time is always 1980-01-01. */
export function zip(files: Map<string, Buffer>): Buffer {
  const locals: Buffer[] = [];
  const entries: Buffer[] = [];
  let at = 0;
  for (const [name, data] of [...files].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    const packed = deflateRawSync(data, { level: 9 });
    const shared = Buffer.alloc(26);
    shared.writeUInt16LE(20, 0);
    // The name is UTF-8.
    shared.writeUInt16LE(0x0800, 2);
    shared.writeUInt16LE(8, 4);
    shared.writeUInt16LE(0x21, 8);
    shared.writeUInt32LE(crc32(data), 10);
    shared.writeUInt32LE(packed.length, 14);
    shared.writeUInt32LE(data.length, 18);
    shared.writeUInt16LE(Buffer.byteLength(name), 22);
    const local = Buffer.concat([Buffer.from('PK\x03\x04', 'latin1'), shared, Buffer.from(name), packed]);
    const rest = Buffer.alloc(14);
    // A plain file that everybody may read, as Unix says it.
    rest.writeUInt32LE(((0o100644 << 16) >>> 0) >>> 0, 6);
    rest.writeUInt32LE(at, 10);
    // Made on Unix, for version 2.0.
    const madeBy = Buffer.from([20, 3]);
    entries.push(
      Buffer.concat([Buffer.from('PK\x01\x02', 'latin1'), madeBy, shared, rest, Buffer.from(name)]),
    );
    locals.push(local);
    at += local.length;
  }
  const directory = Buffer.concat(entries);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...locals, directory, end]);
}

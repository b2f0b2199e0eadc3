// Loads the function, which is one file, with what V8 compiled of it when the image was built (deploy/build-exercise.ts).
// Node's own compile cache has only what a file runs at once, and leaves the rest to be compiled by the first request.
//
// Not by `import`: a module that imports one of Node's own has all its exports read, which loads Node's fetch, among others.
import type * as whole from './build-function.ts';

const { readdirSync, readFileSync, writeFileSync } = process.getBuiltinModule('node:fs');
const { createRequire } = process.getBuiltinModule('node:module');
const path = process.getBuiltinModule('node:path');
const { Script } = process.getBuiltinModule('node:vm');
const { crc32 } = process.getBuiltinModule('node:zlib');

type Whole = typeof whole;

/** The loaded function. */
export interface Loaded extends Whole {
  /** V8 has taken the compiled code. It takes none of another version of V8 or with other flags. */
  isCompiledAhead: boolean;
  /** The name of the file that the compiled code is looked for in, and those that there are. */
  wanted: string;
  found: string[];
  /** Writes the file with all that has been compiled so far. */
  keepCompiled(): void;
}

let loaded: Loaded | undefined;

/**
 * Loads the function once: for start.mjs, which then starts the file's own framework, and for index.mjs, which a framework loads.
 */
export function load(startsFramework = false): Loaded {
  return (loaded ??= loadFile(import.meta.dirname, startsFramework));
}

function loadFile(directory: string, startsFramework: boolean): Loaded {
  const names = readdirSync(directory);
  const name = names.find((each) => /^function-.*\.cjs$/.test(each)) ?? '';
  const filename = path.join(directory, name);
  // The name has the content's hash, so that the code of another build is never taken.
  const wanted = `${name}.${process.version}-${process.arch}.cache`;
  const found = names.filter((each) => each.endsWith('.cache'));
  const bytes = readFileSync(filename);
  // esbuild writes ASCII only.
  const code = bytes.toString('latin1');
  const parameters = 'exports, require, module, __filename, __dirname, startsFramework, importModule';
  const script = new Script(`(function (${parameters}) {${code}\n})`, {
    filename,
    cachedData: readCompiled(path.join(directory, wanted), bytes),
  });
  const module = { exports: {} };
  const run = script.runInThisContext() as (...parts: unknown[]) => void;
  // A script cannot import by itself.
  const importModule = (url: string): Promise<unknown> => import(url);
  run(module.exports, createRequire(filename), module, filename, directory, startsFramework, importModule);
  return {
    ...(module.exports as Whole),
    isCompiledAhead: script.cachedDataRejected === false,
    wanted,
    found,
    keepCompiled() {
      const compiled = script.createCachedData();
      writeFileSync(path.join(directory, wanted), Buffer.concat([compiled, sumsOf(compiled, bytes)]));
    },
  };
}

/** V8 compares neither the source nor the compiled code with anything but the source's length. So both have a checksum here. */
function sumsOf(compiled: Buffer, source: Buffer): Buffer {
  const sums = Buffer.alloc(sumsLength);
  sums.writeUInt32LE(crc32(compiled), 0);
  sums.writeUInt32LE(crc32(source), 4);
  return sums;
}

const sumsLength = 8;

/** Reads compiled code. Returns undefined if there is none, it is damaged, or it is of another source. */
function readCompiled(file: string, source: Buffer): Buffer | undefined {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch {
    return undefined;
  }
  const compiled = bytes.subarray(0, -sumsLength);
  return sumsOf(compiled, source).equals(bytes.subarray(-sumsLength)) ? compiled : undefined;
}

// What the deployed function starts with: the compile cache must be on before anything large is loaded.
import { readdirSync } from 'node:fs';
import { enableCompileCache, getCompileCacheDir } from 'node:module';
import { basename, join } from 'node:path';

const cache = join(import.meta.dirname, 'compile-cache');
const { message } = enableCompileCache(cache);
// The directory is of this version of Node, this processor and this user; it is empty when it was just made.
const own = getCompileCacheDir();
const isUsed = own !== undefined && list(own).length > 0;

await import('../src/index.ts');

if (!isUsed) {
  const { createLog } = await import('../src/log.ts');
  const found = list(cache).filter((name) => own === undefined || name !== basename(own));
  createLog().warn(
    'warning',
    'the compile cache was not used, so this instance started slower; deploy again',
    {
      ...(message === undefined ? {} : { error: message }),
      compile_cache: { wanted: own && basename(own), found },
    },
  );
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

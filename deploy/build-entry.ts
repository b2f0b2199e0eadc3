// What functions-framework loads: package.json's `main`.
import { load } from './build-load.ts';

const { createLog, found, isCompiledAhead, wanted } = load();
if (!isCompiledAhead) {
  createLog().warn(
    'warning',
    'the compile cache was not used, so this instance started slower; deploy again',
    { compile_cache: { wanted, found } },
  );
}

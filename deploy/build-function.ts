// The one file that is deployed: the function, which registers itself, and functions-framework.
import '../src/index.ts';

export { startFramework } from './build-framework.ts';
export { createLog } from '../src/log.ts';

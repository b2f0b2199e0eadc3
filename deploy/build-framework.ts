// functions-framework, once as a part of the function's file and once as the package. The package's 150 files take a
// third of the CPU time in which a function that does nothing starts.
import type { http as register } from '@google-cloud/functions-framework';

/** This file's framework will be started. What loads the file says so (deploy/build-load.ts). */
declare const startsFramework: boolean;

/** Starts the framework of this file, which takes requests. */
export function startFramework(): void {
  require('../node_modules/@google-cloud/functions-framework/build/src/main.js');
}

/** Registers with the framework that takes the requests: this file's or, if the start command is the package's, that one. */
export const http: typeof register = (name, handler) => {
  const started = startsFramework
    ? require('../node_modules/@google-cloud/functions-framework/build/src/function_registry.js')
    : require('@google-cloud/functions-framework');
  (started as { http: typeof register }).http(name, handler);
};

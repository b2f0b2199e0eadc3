import { readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import type { Plugin } from 'esbuild';
import { pruneProtos } from './build-protos.ts';
import type { ProtoCall } from './build-protos.ts';

/** A client of one of Google's packages, and the calls that the source makes. */
export interface GoogleClient {
  package: string;
  /** The class, and its module in the package, which is what the source imports. */
  client: string;
  module: string;
  calls: ProtoCall[];
}

/**
 * Reduces Google's client libraries to the calls that are made: each client's module alone, its protos pruned, and
 * google-gax in its REST form, without gRPC and what else the clients never reach.
 */
export function reduceGoogleClients(root: string, clients: GoogleClient[]): Plugin {
  const packages = join(root, 'node_modules');
  return {
    name: 'reduce-google-clients',
    setup(build) {
      for (const client of clients) {
        // Imported dynamically, a CommonJS module has no named exports in a bundle; this one has.
        const specifier = `${client.package}/${client.module}`;
        build.onResolve({ filter: exactly(specifier) }, () => ({
          path: specifier,
          namespace: 'google-client',
        }));
        build.onLoad({ filter: exactly(specifier), namespace: 'google-client' }, () => ({
          contents: `export { ${client.client} } from '${join(packages, specifier)}';`,
          resolveDir: root,
        }));
        const protos = join(packages, client.package, 'build/protos/protos.json');
        build.onLoad({ filter: exactly(protos) }, async () => {
          const whole = JSON.parse(await readFile(protos, 'utf8')) as unknown;
          return { contents: JSON.stringify(pruneProtos(whole, client.calls)), loader: 'json' };
        });
      }
      build.onResolve({ filter: /^google-gax$/ }, () => ({ path: 'google-gax', namespace: 'gax-over-rest' }));
      build.onLoad({ filter: /.*/, namespace: 'gax-over-rest' }, () => ({
        contents: gaxOverRest(join(packages, 'google-gax/build/src')),
        resolveDir: root,
      }));
      build.onLoad({ filter: unreached(packages) }, ({ path }) => ({
        contents: leftOut(relative(packages, path)),
        loader: 'js',
      }));
    },
  };
}

/** What the clients take from google-gax when they speak REST; its index would load gRPC first. */
function gaxOverRest(gax: string): string {
  return `
    exports.fallback = require('${gax}/fallback.js');
    exports.decodeAnyProtosInArray = require('${gax}/util.js').decodeAnyProtosInArray;
    exports.loggingUtils = require('google-logging-utils');
  `;
}

/** Modules that google-gax loads at start for services that are never called. */
function unreached(packages: string): RegExp {
  const modules = [
    'google-gax/build/protos/iam_service',
    'google-gax/build/protos/locations',
    'google-gax/build/protos/operations',
    'google-gax/build/src/iamService',
    'google-gax/build/src/locationService',
    'google-gax/build/src/operationsClient',
    'google-gax/build/src/resumableUpload',
    'google-gax/build/src/resumableSourceFromFile',
  ];
  return new RegExp(`^${escape(packages)}/(${modules.map((module) => escape(module)).join('|')})\\.js(on)?$`);
}

/** Throws a clear error if code does reach such a module, instead of "is not a function". */
function leftOut(module: string): string {
  const message = `${module} was left out of the bundle (deploy/build-google-clients.ts)`;
  return `module.exports = new Proxy({ __esModule: true }, {
    get(target, name) {
      if (name in target || typeof name === 'symbol' || name === 'then') return target[name];
      throw new Error(${JSON.stringify(message)} + ': ' + name);
    },
  });`;
}

/** The filter for this path alone. */
export function exactly(text: string): RegExp {
  return new RegExp(`^${escape(text)}$`);
}

function escape(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\/]/g, String.raw`\$&`);
}

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Plugin } from 'esbuild';

/**
 * Gives Google's libraries `Headers` and `FormData` of node-fetch, which they send with in any case. Node's own, which they
 * would find, load all of Node's fetch, which nothing uses.
 */
export function takeNodeFetch(root: string): Plugin {
  const packages = join(root, 'node_modules');
  const names = {
    Headers: `const { default: Headers } = require('${packages}/node-fetch/src/headers.js');`,
    FormData: `const { FormData } = require('${packages}/formdata-polyfill/esm.min.js');`,
  };
  return {
    name: 'take-node-fetch',
    setup(build) {
      const files = /node_modules\/(gaxios|gcp-metadata|google-auth-library|google-gax)\/build\/.*\.js$/;
      build.onLoad({ filter: files }, async ({ path }) => {
        const code = await readFile(path, 'utf8');
        const taken = Object.entries(names).filter(([name]) => new RegExp(`\\b${name}\\b`).test(code));
        if (taken.length === 0) return undefined;
        return { contents: [...taken.map(([, line]) => line), code].join('\n'), loader: 'js' };
      });
    },
  };
}

// Bundles the suites as the function is bundled, so that they run on the reduced clients, and start the built function where
// they start it: a message that was pruned too much must not first be missed in production.
import { globSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import type { Plugin } from 'esbuild';
import { bundling, reduceClients } from '../../deploy/build.ts';

const root = join(import.meta.dirname, '../..');
const directory = join(root, 'dist/suites');

rmSync(directory, { recursive: true, force: true });
// Thousands of interleavings of the same calls show nothing more about the bundle; the build's own suites make it themselves.
const leftOut =
  /^test\/(build\/|scenarios\/(faults-(act|claim|cordon)|failover-crashes|interleavings|schedules|alert-fuzz))/;
const suites = globSync(
  [
    'test/*.test.ts',
    'test/{request,alert,failover,decide,effects,state,gke,verify,page,scenarios}/*.test.ts',
  ],
  {
    cwd: root,
  },
).filter((name) => !leftOut.test(name));
await build({
  ...bundling,
  entryPoints: suites,
  outdir: directory,
  sourcemap: 'inline',
  // The tests' own tools; whatever else comes from packages is what the function uses.
  external: [
    '@google-cloud/functions-framework',
    '@peculiar/x509',
    '@seriousme/openapi-schema-validator',
    'chai',
    'cheerio',
    'esbuild',
    'fast-check',
    'mocha',
    'sinon',
    'yaml',
  ],
  plugins: [keepPlaces(), ...reduceClients()],
});
console.log(
  `${suites.length} suites are in ${directory}; those that only repeat calls in many orders are not (${leftOut.source})`,
);

/** What a suite finds from where it is stays where it is, and the function that it starts is the built one. */
function keepPlaces(): Plugin {
  return {
    name: 'keep-places',
    setup(builder) {
      builder.onLoad({ filter: /\.ts$/ }, ({ path }) => ({
        contents: readFileSync(path, 'utf8')
          .replaceAll('import.meta.dirname', JSON.stringify(dirname(path)))
          .replaceAll('import.meta.url', JSON.stringify(pathToFileURL(path).href))
          .replaceAll("'src/index.ts'", "'dist/index.mjs'"),
        loader: 'ts',
      }));
    },
  };
}

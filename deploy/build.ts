import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { readFile } from 'node:fs/promises';
import { build } from 'esbuild';
import type { BuildOptions, Plugin } from 'esbuild';
import { clusterFields } from '../src/gke/cluster.ts';
import { instanceFields } from '../src/gke/compute.ts';
import { operationFields, poolFields } from '../src/gke/gke-work.ts';
import { compileAhead, findNodes } from './build-compile-ahead.ts';
import { exactly, reduceGoogleClients } from './build-google-clients.ts';
import { reduceKubernetesClient } from './build-kubernetes-client.ts';
import { takeNodeFetch } from './build-node-fetch.ts';

const root = join(import.meta.dirname, '..');

/** How esbuild bundles the source, and the test suites that run against the bundle. */
export const bundling = {
  absWorkingDir: root,
  // With this extension the framework need not look for a package.json, which takes it 30 ms.
  outExtension: { '.js': '.mjs' },
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node22',
  logLevel: 'warning',
  // Bundled CommonJS modules require Node's own, which a module has no `require` for.
  banner: {
    js: "import{createRequire as createBundleRequire}from'node:module';const require=createBundleRequire(import.meta.url);",
  },
} satisfies BuildOptions;

/** V8's compiled code is of one script. What only a repair or a page needs is in the file, and runs when it is needed. */
const oneFile = {
  outExtension: { '.js': '.cjs' },
  entryNames: '[name]-[hash]',
  splitting: false,
  format: 'cjs',
  banner: {},
} satisfies BuildOptions;

/**
 * Builds the bundle that is deployed: the function and functions-framework in one file, and what starts them. The clients
 * are reduced to the calls that the source makes, and the file is compiled ahead for the Node that will run it, because
 * a function that starts once a month starts cold every time.
 *
 * @param directory is emptied first
 * @param say prints what was made
 */
export async function buildFunction(
  directory: string,
  say: (line: string) => void = console.log,
): Promise<void> {
  rmSync(directory, { recursive: true, force: true });
  const options = {
    ...bundling,
    outdir: directory,
    // Names stay, because people read stacks in the log by them. They cost nothing that could be measured.
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    metafile: true,
  } satisfies BuildOptions;
  const { outputs } = await build({
    ...options,
    ...oneFile,
    entryPoints: { function: 'deploy/build-function.ts' },
    // For the start command that is not linked (deploy/build-link.ts).
    external: ['@google-cloud/functions-framework'],
    plugins: [chooseFramework(), setKubeconfigApart(), ...reduceClients()],
  }).then(({ metafile }) => metafile);
  const entryPoints = {
    index: 'deploy/build-entry.ts',
    load: 'deploy/build-load.ts',
    start: 'deploy/build-start.ts',
  };
  const { metafile } = await build({ ...options, entryPoints, banner: {} });
  const kubeconfig = await build({
    ...options,
    ...oneFile,
    entryNames: '[name]',
    entryPoints: { kubeconfig: kubeconfigModule },
    plugins: reduceClients(),
  });
  Object.assign(outputs, metafile.outputs, kubeconfig.metafile.outputs);
  const bytes = Object.values(outputs).reduce((sum, output) => sum + output.bytes, 0);
  say(`built ${directory}: ${Object.keys(outputs).length} files, ${Math.round(bytes / 1000)} kB`);
  for (const node of findNodes()) say(compileAhead(directory, node));
}

/** The clients of Google Cloud and Kubernetes, reduced to what the source calls. */
export function reduceClients(): Plugin[] {
  return [
    reduceGoogleClients(root, [
      {
        package: '@google-cloud/container',
        client: 'ClusterManagerClient',
        module: 'build/src/v1/cluster_manager_client.js',
        calls: [
          {
            method: 'google.container.v1.ClusterManager.GetCluster',
            answer: [...clusterFields, ...poolFields],
          },
          { method: 'google.container.v1.ClusterManager.ListOperations', answer: operationFields },
        ],
      },
      {
        package: '@google-cloud/compute',
        client: 'InstancesClient',
        module: 'build/src/v1/instances_client.js',
        calls: [
          { method: 'google.cloud.compute.v1.Instances.Delete' },
          { method: 'google.cloud.compute.v1.Instances.Get', answer: instanceFields },
        ],
      },
    ]),
    reduceKubernetesClient(root, readSource()),
    reduceUndici(),
    takeNodeFetch(root),
  ];
}

/** Has the function register with the framework that was started (deploy/build-framework.ts), and that one import the function. */
function chooseFramework(): Plugin {
  const loader = join(root, 'node_modules/@google-cloud/functions-framework/build/src/loader.js');
  const itsImport = "new Function('modulePath', 'return import(modulePath)')";
  return {
    name: 'choose-framework',
    setup(builder) {
      builder.onResolve({ filter: exactly('@google-cloud/functions-framework') }, ({ importer }) =>
        importer.startsWith(join(root, 'src/'))
          ? { path: join(root, 'deploy/build-framework.ts') }
          : undefined,
      );
      builder.onLoad({ filter: exactly(loader) }, async ({ path }) => {
        const [before, after, ...more] = (await readFile(path, 'utf8')).split(itsImport);
        if (after === undefined || more.length > 0) throw new Error(`${path} imports in another way now`);
        // What loads the file gives it `importModule` (deploy/build-load.ts).
        return { contents: `${before}importModule${after}` };
      });
    },
  };
}

const kubeconfigModule = '@kubernetes/client-node/dist/config.js';

/** Leaves what reads a kubeconfig, which only a local run needs, in a file of its own: it reaches all models of the client. */
function setKubeconfigApart(): Plugin {
  return {
    name: 'set-kubeconfig-apart',
    setup(builder) {
      const file = './kubeconfig.cjs';
      builder.onResolve({ filter: exactly(kubeconfigModule) }, () => ({ path: file, namespace: 'apart' }));
      builder.onResolve({ filter: exactly(file) }, () => ({ path: file, external: true }));
      builder.onLoad({ filter: /.*/, namespace: 'apart' }, () => ({
        contents: `module.exports = require('${file}');`,
      }));
    },
  };
}

/** Gives the source only the connection pool of undici, which can also fetch, cache and mock. */
function reduceUndici(): Plugin {
  const library = join(root, 'node_modules/undici/lib');
  return {
    name: 'reduce-undici',
    setup(builder) {
      builder.onResolve({ filter: /^undici$/ }, ({ importer }) =>
        importer.startsWith(join(root, 'src/')) ? { path: 'undici', namespace: 'undici' } : undefined,
      );
      builder.onLoad({ filter: /.*/, namespace: 'undici' }, () => ({
        contents: `
          export { default as Agent } from '${library}/dispatcher/agent.js';
          export { default as buildConnector } from '${library}/core/connect.js';`,
        resolveDir: root,
      }));
    },
  };
}

function readSource(): string {
  const directory = join(root, 'src');
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => readFileSync(join(directory, name), 'utf8'))
    .join('\n');
}

// The runtime may be a Node that has no import.meta.main yet.
if (process.argv[1] === import.meta.filename) await buildFunction(join(root, 'dist'));

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import type { BuildOptions, Plugin } from 'esbuild';
import { clusterFields } from '../src/gke/cluster.ts';
import { instanceFields } from '../src/gke/compute.ts';
import { operationFields, poolFields } from '../src/gke/gke-work.ts';
import { reduceGoogleClients } from './build-google-clients.ts';
import { reduceKubernetesClient } from './build-kubernetes-client.ts';

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

/**
 * Builds the bundle that is deployed. Code that only a repair or a local run needs is in files of its own. The clients
 * are reduced to the calls that the source makes, and the bundle is compiled ahead for the Node that will run it, because
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
  const { metafile } = await build({
    ...bundling,
    entryPoints: { index: 'deploy/build-entry.ts' },
    outdir: directory,
    // Names stay, because people read stacks in the log by them. They cost nothing that could be measured.
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    metafile: true,
    // The buildpack starts the framework of node_modules, and the function must register with that one.
    external: ['@google-cloud/functions-framework'],
    plugins: reduceClients(),
  });
  const bytes = Object.values(metafile.outputs).reduce((sum, output) => sum + output.bytes, 0);
  say(`built ${directory}: ${Object.keys(metafile.outputs).length} files, ${Math.round(bytes / 1000)} kB`);
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
  ];
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

/**
 * Finds the versions of Node to compile for, because a cache is valid for one version only: npm's own, which in the
 * buildpack is the runtime's, and the one that is pinned for development, which runs the tests of the bundle.
 */
function findNodes(): Set<string> {
  return new Set(
    [process.env['npm_node_execpath'] ?? process.execPath, process.execPath].map((path) =>
      realpathSync(path),
    ),
  );
}

/** `enableCompileCache`, which deploy/build-entry.ts calls, came with this version. */
const oldestNode = [22, 1] as const;

/**
 * Loads every file once with the compile cache on. Node writes the cache when the process ends. Without the cache the
 * function starts too, but slower, and its log says so at each start.
 *
 * @returns one line that says what came of it
 */
export function compileAhead(directory: string, node: string): string {
  const version = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim();
  const [major = 0, minor = 0] = version.slice(1).split('.').map(Number);
  const [oldestMajor, oldestMinor] = oldestNode;
  if (major < oldestMajor || (major === oldestMajor && minor < oldestMinor)) {
    return `not compiled ahead for node ${version} (needs ${oldestNode.join('.')})`;
  }
  const files = readdirSync(directory).filter((name) => name.endsWith('.mjs') && name !== 'index.mjs');
  const script = ['index.mjs', ...files]
    .map((name) => `await import(${JSON.stringify(pathToFileURL(join(directory, name)).href)});`)
    .join('\n');
  try {
    execFileSync(node, ['--input-type=module', '--eval', script], {
      cwd: root,
      env: { FUNCTION_TARGET: 'failover', CLUSTERS: 'projects/build/locations/build/clusters/build' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return `compiled ahead for node ${version}`;
  } catch (error) {
    const { stderr = '', message } = error as Error & { stderr?: Buffer | string };
    const why = /^\S*Error\b.*/m.exec(String(stderr))?.[0] ?? message.split('\n')[0];
    return `not compiled ahead for node ${version}: ${why}`;
  }
}

// The runtime may be a Node that has no import.meta.main yet.
if (process.argv[1] === import.meta.filename) await buildFunction(join(root, 'dist'));

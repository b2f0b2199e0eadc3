import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import type { BuildOptions, Plugin } from 'esbuild';
import { clusterFields } from '../src/gke/cluster.ts';
import { reduceGoogleClients } from './build-google-clients.ts';
import { reduceKubernetesClient } from './build-kubernetes-client.ts';

const root = join(import.meta.dirname, '..');

/** How the source is bundled, and the suites that are to run on what is deployed. */
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
 * Makes what is deployed: one bundle, with what only a repair or a local run needs in files of their own, reduced to what
 * is called, and compiled ahead for the Node that will run it. A function that starts once a month starts cold every time.
 *
 * @param directory is emptied first
 * @param say is told what was made
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
    // Names stay: they are what a stack in the log is read by, and cost nothing that could be measured.
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    metafile: true,
    // The buildpack starts the framework that is in node_modules, and functions register with that one.
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
        calls: [{ method: 'google.container.v1.ClusterManager.GetCluster', answer: clusterFields }],
      },
      {
        package: '@google-cloud/compute',
        client: 'InstancesClient',
        module: 'build/src/v1/instances_client.js',
        calls: [{ method: 'google.cloud.compute.v1.Instances.Delete' }],
      },
    ]),
    reduceKubernetesClient(root, readSource()),
    reduceUndici(),
  ];
}

/** Of undici, which also fetches, caches and mocks, the source gets the connection pool alone. */
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
 * The cache is valid for one version of Node only. In the buildpack that is npm's own, which is the runtime's; the one
 * that is pinned for development runs the tests of what was built.
 */
function findNodes(): Set<string> {
  return new Set(
    [process.env['npm_node_execpath'] ?? process.execPath, process.execPath].map((path) =>
      realpathSync(path),
    ),
  );
}

/** Loads every file once with the compile cache on, which is written when the process ends. @returns what came of it */
function compileAhead(directory: string, node: string): string {
  const version = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim();
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
    // It starts without, only slower; the log says so at each start.
    return `not compiled ahead for node ${version}: ${String(error)}`;
  }
}

// The runtime may be a Node that does not know import.meta.main yet.
if (process.argv[1] === import.meta.filename) await buildFunction(join(root, 'dist'));

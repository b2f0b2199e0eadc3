// Compiles a bundle ahead for the Node that will run it. It needs no package, because the archive of a release has none for it.
import { execFileSync } from 'node:child_process';
import { readdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const root = join(import.meta.dirname, '..');

/**
 * Finds the versions of Node to compile for, because a cache is valid for one version only: npm's own, which in the
 * buildpack is the runtime's, and the one that is pinned for development, which runs the tests of the bundle.
 */
export function findNodes(): Set<string> {
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

// This is what the build of a release runs.
if (process.argv[1] === import.meta.filename) {
  for (const node of findNodes()) console.log(compileAhead(join(root, 'dist'), node));
}

// Compiles a bundle ahead for the Node that will run it. It needs no package, because the archive of a release has none for it.
import { execFileSync } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { join } from 'node:path';

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

/** The first that runs TypeScript as it is, which deploy/build-exercise.ts is. */
const oldestNode = [22, 18] as const;

/**
 * Has the function serve requests once, and keeps what V8 has compiled for them. Without that the function starts too, but
 * slower, and its log says so at each start.
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
  try {
    execFileSync(node, [join(import.meta.dirname, 'build-exercise.ts'), directory], {
      cwd: root,
      env: {},
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 60_000,
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

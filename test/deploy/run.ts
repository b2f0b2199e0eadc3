import { spawn, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The repository's root. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

/** What a command did. */
export interface CommandResult {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a command to its end, by default in the repository's root. The caller checks the exit code. */
export async function run(
  command: string,
  args: string[],
  options: { cwd?: string; env?: Record<string, string | undefined> } = {},
): Promise<CommandResult> {
  const child = spawn(command, args, {
    cwd: options.cwd ?? root,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const result = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (result.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (result.stderr += text));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject).on('close', resolve);
  });
  return { code, ...result };
}

/**
 * Skips the suite, with the reason on the terminal, where a program is not installed.
 *
 * @example before(function () { needs(this, 'terraform'); });
 */
export function needs(context: Mocha.Context, ...programs: string[]): void {
  const missing = programs.filter((program) => !isInstalled(program));
  if (missing.length === 0) return;
  console.log(`      not run: ${missing.join(' and ')} is not installed`);
  context.skip();
}

/** Says whether a program is on the PATH. */
export function isInstalled(program: string): boolean {
  return spawnSync('which', [program]).status === 0;
}

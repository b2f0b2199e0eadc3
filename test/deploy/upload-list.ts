import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { root } from './run.ts';

/** The files that are uploaded for the build, sorted: only the sources, and what builds them. */
export async function uploadList(): Promise<string[]> {
  const sources = await readdir(join(root, 'src'), { recursive: true, withFileTypes: true });
  const deploy = await readdir(join(root, 'deploy'));
  return [
    'package.json',
    'package-lock.json',
    'tsconfig.json',
    ...sources
      .filter((file) => file.isFile())
      .map((file) => join(file.parentPath, file.name).slice(root.length)),
    ...deploy.filter((name) => /^build.*\.ts$/.test(name)).map((name) => `deploy/${name}`),
  ].toSorted();
}

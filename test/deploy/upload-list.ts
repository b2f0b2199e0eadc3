import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { root } from './run.ts';

/** What is uploaded to be built, sorted: what the function is made of, what builds it, and nothing else. */
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

// Lets the buildpack's start command, which is fixed to node_modules/.bin/functions-framework, start the framework of the
// function's file. Only gcp-build runs this: the package stays as it is, and without the link the function starts slower.
import { chmodSync, rmSync, symlinkSync } from 'node:fs';
import { join, relative } from 'node:path';

/** @param root is the folder of package.json */
export function linkStart(root: string): void {
  const commands = join(root, 'node_modules/.bin');
  const start = join(root, 'dist/start.mjs');
  chmodSync(start, 0o755);
  rmSync(join(commands, 'functions-framework'), { force: true });
  symlinkSync(relative(commands, start), join(commands, 'functions-framework'));
}

if (process.argv[1] === import.meta.filename) linkStart(join(import.meta.dirname, '..'));

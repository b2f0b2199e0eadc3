// Runs the unit tests: all of them, or only the files that are named (`npm run unit -- test/state/lock.test.ts`). Mocha adds
// the files of the command line to those of package.json, so a run of some must leave package.json aside.
const { spawnSync } = require('node:child_process');
const { join } = require('node:path');

const mocha = join(__dirname, '../node_modules/mocha/bin/mocha.js');
const given = process.argv.slice(2);
const isSome = given.some((argument) => argument.endsWith('.ts'));
const { mocha: settings } = require('../package.json');
const some = ['--no-package', '--forbid-only', '--timeout', String(settings.timeout), '--reporter', 'spec'];
const required = (settings.require ?? []).flatMap((file) => ['--require', file]);

const { status } = spawnSync(process.execPath, [mocha, ...(isSome ? [...some, ...required] : []), ...given], {
  stdio: 'inherit',
});
process.exitCode = status ?? 1;

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';
import type { Browser } from 'playwright-core';

/** Starts the Chromium of this machine, or skips the suite with one line that says why. */
export async function launchOrSkip(context: Mocha.Context): Promise<Browser> {
  const path = findChromium();
  if (path === undefined) {
    console.log('  not run: no Chromium; install the Debian package chromium, or set CHROME_PATH');
    return context.skip();
  }
  // Chromium refuses its sandbox to root, as whom a container usually runs.
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  return chromium.launch({ executablePath: path, args });
}

function findChromium(): string | undefined {
  const given = process.env['CHROME_PATH'];
  if (given !== undefined) {
    if (!existsSync(given)) throw new Error(`CHROME_PATH is ${given}, where nothing is`);
    return given;
  }
  for (const name of ['chromium', 'chromium-browser', 'google-chrome']) {
    const { stdout, status } = spawnSync('/bin/sh', ['-c', `command -v ${name}`], { encoding: 'utf8' });
    if (status === 0) return stdout.trim();
  }
  return undefined;
}

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { buildFunction } from './build.ts';
import { zip } from './zip.ts';

const root = join(import.meta.dirname, '..');
const framework = '@google-cloud/functions-framework';

interface PackageJson {
  name: string;
  version: string;
  main: string;
  dependencies: Record<string, string>;
  [key: string]: unknown;
}

/**
 * Makes what is published of a version: the bundle as an archive that Terraform (`source_archive`) and `deploy/deploy.sh
 * --archive` deploy as it is, a list of every package that is in it (a software bill of materials), and the checksums of both.
 * The same sources, Node and npm make the same bytes. The version is package.json's, and its tag is `v` and the version.
 *
 * @param directory is where they are written
 * @param say prints what was made
 */
export async function release(directory: string, say: (line: string) => void = console.log): Promise<void> {
  const packageJson = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as PackageJson;
  const { name, version } = packageJson;
  // Within node_modules the bundle finds the framework when it is compiled.
  const cache = join(root, 'node_modules/.cache');
  mkdirSync(cache, { recursive: true });
  const temporary = mkdtempSync(join(cache, 'release-'));
  // npm names the list of packages after the folder.
  const staging = join(temporary, name);
  try {
    mkdirSync(staging);
    await buildFunction(join(staging, 'dist'), say);
    const files = new Map<string, Buffer>();
    for (const each of readdirSync(join(staging, 'dist'), { recursive: true, encoding: 'utf8' })) {
      // The cache is for the Node of this machine; the build makes the one of the runtime.
      if (/\.[cm]js$/.test(each)) files.set(`dist/${each}`, readFileSync(join(staging, 'dist', each)));
    }
    const ran = ['compile-ahead', 'exercise', 'link'].map((each) => `deploy/build-${each}.ts`);
    for (const each of ['LICENSE', ...ran]) {
      files.set(each, readFileSync(join(root, each)));
    }
    for (const each of ['package-lock.json', '.npmrc']) copyFileSync(join(root, each), join(staging, each));
    // Without the development packages: npm would leave out what both kinds need.
    writePackage(staging, { ...packageJson, devDependencies: {} });
    const packages = npm(staging, 'sbom', '--package-lock-only', '--sbom-format=cyclonedx');
    for (const [each, text] of writePackage(staging, toArchived(packageJson))) files.set(each, text);
    mkdirSync(directory, { recursive: true });
    const made = new Map([
      [`${name}-${version}.zip`, zip(files)],
      [`${name}-${version}.cdx.json`, toReproducible(packages)],
    ]);
    const sums = [...made].map(
      ([each, data]) => `${createHash('sha256').update(data).digest('hex')}  ${each}\n`,
    );
    made.set('SHA256SUMS', Buffer.from(sums.join('')));
    for (const [each, data] of made) {
      writeFileSync(join(directory, each), data);
      say(`${join(directory, each)}: ${Math.ceil(data.length / 1000)} kB`);
    }
    say(`publish them with the tag v${version}`);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

/**
 * @param changelog is the text of CHANGELOG.md
 * @throws {Error} unless its newest section is the version's, with a line in it
 */
export function requireChanges(version: string, changelog: string): void {
  const newest = changelog.split(/^## /m)[1] ?? '';
  const named = newest.split(/\s/)[0];
  if (named !== version) {
    throw new Error(
      `the newest section of CHANGELOG.md is "${named}" and not "${version}", the version of package.json: name "Unreleased" after the new version, then npm version sets it`,
    );
  }
  if (!/^- /m.test(newest)) throw new Error(`the section "${version}" of CHANGELOG.md has no line`);
}

interface Bom {
  serialNumber?: string;
  metadata: { timestamp?: string; [key: string]: unknown };
  [key: string]: unknown;
}

/** npm gives each list a random number and the time. The number comes from the content here, and the time is left out. */
function toReproducible(list: Buffer): Buffer {
  const { serialNumber: _random, ...bom } = JSON.parse(String(list)) as Bom;
  delete bom.metadata.timestamp;
  const hash = createHash('sha256').update(JSON.stringify(bom)).digest('hex');
  // A UUID of version 8: whatever its maker wants.
  const uuid = hash.replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*$/, '$1-$2-8$3-8$4-$5');
  return Buffer.from(`${JSON.stringify({ ...bom, serialNumber: `urn:uuid:${uuid}` }, undefined, 2)}\n`);
}

/** The package of the archive: the framework, which the bundle does not carry, and what compiles the bundle ahead. */
function toArchived({ name, version, main, dependencies, ...others }: PackageJson): PackageJson {
  const { license, type, engines, description } = others;
  return {
    name,
    version,
    private: true,
    description,
    license,
    type,
    main,
    engines,
    scripts: { 'gcp-build': 'node deploy/build-compile-ahead.ts && node deploy/build-link.ts' },
    dependencies: { [framework]: dependencies[framework] ?? '' },
  };
}

/** Writes a package, and its part of the lock file. */
function writePackage(staging: string, packageJson: PackageJson): Map<string, Buffer> {
  writeFileSync(join(staging, 'package.json'), `${JSON.stringify(packageJson, undefined, 2)}\n`);
  npm(staging, 'install', '--package-lock-only', '--ignore-scripts', '--offline');
  return new Map(
    ['package.json', 'package-lock.json'].map((each) => [each, readFileSync(join(staging, each))]),
  );
}

function npm(cwd: string, ...args: string[]): Buffer {
  return execFileSync('npm', args, {
    cwd,
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 64 * 1024 * 1024,
  });
}

if (process.argv[1] === import.meta.filename) {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as PackageJson;
  try {
    requireChanges(version, readFileSync(join(root, 'CHANGELOG.md'), 'utf8'));
    await release(join(root, 'release'));
  } catch (error) {
    console.error(`no release: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}

/** Builds the programs of the control plane from go.mod, once, outside the repository. */
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { kueueModule, readVersions } from './versions.ts';
import type { Part, Versions } from './versions.ts';

/**
 * This machine cannot build the control plane: it has no Go, or cannot fetch the modules. A failed build is another
 * error.
 */
export class ControlPlaneUnavailable extends Error {
  override name = 'ControlPlaneUnavailable';
}

const versionPackage = 'k8s.io/component-base/version';

function toBuildArguments(kubernetesVersion: string): string[] {
  const [major, minor] = kubernetesVersion.slice(1).split('.');
  return [
    '-trimpath',
    '-ldflags',
    // Without these, /version says v0.0.0-master, which misleads clients that compare versions.
    `-s -w -X ${versionPackage}.gitVersion=${kubernetesVersion} -X ${versionPackage}.gitMajor=${major} -X ${versionPackage}.gitMinor=${minor}`,
  ];
}

/** What is built of Go modules, once, into a directory of its own. */
interface Build {
  /** What it is called, before a colon and in a sentence. */
  name: string;
  subject: string;
  /** Its folder in the cache. */
  folder: string;
  parts: Part[];
  /** The module that has its manifests, and the Go module that requires it. */
  module: string;
  moduleDirectory: string;
  /**
   * Files of that module, by the name that each is stored under beside the binaries, so that a run needs no Go. The files of a folder
   * become one.
   */
  manifests: Record<string, string>;
  /** About how many packages Go compiles if its cache is empty. */
  packages: number;
  /** The size of the modules, how long it takes, and the disk that it takes. */
  words: { fetching: string; time: string; disk: string };
}

/** About how many packages Go compiles if its cache is empty. Another version of Kubernetes has about as many. */
const packages = 2760;

const controlPlane: Omit<Build, 'parts' | 'moduleDirectory'> = {
  name: 'control plane',
  subject: 'the control plane',
  folder: 'control-plane',
  module: 'sigs.k8s.io/jobset',
  manifests: {
    'jobset-crd.yaml': 'config/components/crd/bases/jobset.x-k8s.io_jobsets.yaml',
    'jobset-webhooks.yaml': 'config/components/webhook/manifests.yaml',
  },
  packages,
  words: {
    fetching: '100 MB',
    time: '8 to 14 minutes on two cores',
    disk: '420 MB for the programs, 3.0 GB for the build cache of Go, 0.6 GB for its modules',
  },
};

const kueue: Build = {
  name: 'Kueue',
  subject: 'Kueue',
  folder: 'kueue',
  parts: [kueueModule],
  module: 'sigs.k8s.io/kueue',
  moduleDirectory: kueueModule.directory,
  manifests: {
    'kueue-crds.yaml': 'config/components/crd/bases',
    'kueue-webhooks.yaml': 'config/components/webhook/manifests.yaml',
  },
  packages: 1300,
  words: {
    fetching: '70 MB',
    time: '10 minutes on two busy cores',
    disk: '85 MB for the program, 1.6 GB for the build cache of Go',
  },
};
const keepUnusedDays = 30;

/**
 * Answers the directory that holds `etcd`, `kube-apiserver`, `kube-controller-manager`, `kube-scheduler`, `jobset`,
 * `kwok` and JobSet's manifests, and builds them first where that has not been done: 8 to 14 minutes on two cores,
 * half a minute where Go's own cache is warm. Two that build at once take turns.
 * @throws ControlPlaneUnavailable where there is no Go or the modules cannot be fetched
 */
export async function buildPrograms(say: (line: string) => void = console.error): Promise<string> {
  const { parts, jobSetDirectory } = readVersions(process.env);
  return buildOnce({ ...controlPlane, parts, moduleDirectory: jobSetDirectory }, say);
}

/**
 * Answers the directory that holds `kueue` and its manifests, and builds them first where that has not been done.
 * @throws ControlPlaneUnavailable where there is no Go or the modules cannot be fetched
 */
export function buildKueue(say: (line: string) => void = console.error): Promise<string> {
  return buildOnce(kueue, say);
}

async function buildOnce(what: Build, say: (line: string) => void): Promise<string> {
  const cache = join(
    process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'),
    'autometric-failover',
    what.folder,
  );
  const target = join(cache, await hashBuild(what));
  await mkdir(cache, { recursive: true });
  if (!(await isBuilt(target))) {
    await withLock(`${target}.lock`, what.name, say, async () => {
      if (!(await isBuilt(target))) await build(target, what, say);
    });
    await removeUnused(cache);
  }
  const now = new Date();
  await utimes(target, now, now);
  return target;
}

/**
 * A hash of everything that makes the binaries, except the Go version, because a newer Go is no reason to build
 * again.
 */
export function buildKey({ parts }: Versions = readVersions(process.env)): Promise<string> {
  return hashBuild({ ...controlPlane, parts });
}

async function hashBuild({ parts, manifests }: Pick<Build, 'parts' | 'manifests'>): Promise<string> {
  const hash = createHash('sha256');
  for (const { directory, packages, kubernetesVersion } of parts) {
    for (const name of ['go.mod', 'go.sum']) hash.update(await readFile(join(directory, name)));
    if (packages[0] !== 'tool') hash.update(packages.join());
    hash.update(
      JSON.stringify([toBuildArguments(kubernetesVersion), manifests, process.platform, process.arch]),
    );
  }
  return hash.digest('hex').slice(0, 20);
}

async function isBuilt(target: string): Promise<boolean> {
  return stat(target).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function build(target: string, what: Build, say: (line: string) => void): Promise<void> {
  const { name, parts, words } = what;
  const started = Date.now();
  const elapsed = (): string => {
    const seconds = Math.round((Date.now() - started) / 1000);
    return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
  };
  say(`${name}: fetching its Go modules (once, about ${words.fetching})`);
  for (const { directory } of parts) await fetchModules(directory, what.subject);
  // Renamed only when complete, so that an interrupted build is never used.
  const unfinished = `${target}.${process.pid}`;
  await mkdir(unfinished, { recursive: true });
  try {
    say(`${name}: building it (once, ${words.time}; stopping loses nothing that is compiled)`);
    say(`${name}: this takes disk: ${words.disk}`);
    let compiled = 0;
    const progress = setInterval(() => say(describeProgress(compiled, elapsed(), what)), 20_000);
    try {
      for (const part of parts) await compile(part, unfinished, () => (compiled += 1));
    } finally {
      clearInterval(progress);
    }
    // etcd's main package is called `server`.
    const server = join(unfinished, 'server');
    if (await exists(server)) await rename(server, join(unfinished, 'etcd'));
    const source = (await go(['list', '-m', '-f', '{{.Dir}}', what.module], what.moduleDirectory)).trim();
    for (const [file, path] of Object.entries(what.manifests)) {
      await writeFile(join(unfinished, file), await readManifests(join(source, path)));
    }
    await rename(unfinished, target).catch(async (error: unknown) => {
      if (!(await isBuilt(target))) throw error;
    });
    say(`${name}: built in ${elapsed()}`);
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
}

export function describeProgress(
  compiled: number,
  elapsed: string,
  { name, packages }: Pick<Build, 'name' | 'packages'> = controlPlane,
): string {
  return `${name}: still building, ${compiled} of about ${packages} packages compiled, ${elapsed}`;
}

/** Reads a file, or those of a folder as the documents of one. */
async function readManifests(path: string): Promise<string> {
  if (!(await stat(path)).isDirectory()) return readFile(path, 'utf8');
  const names = (await readdir(path)).sort();
  const texts = await Promise.all(names.map((name) => readFile(join(path, name), 'utf8')));
  return texts.map((text) => (text.startsWith('---') ? text : `---\n${text}`)).join('');
}

async function fetchModules(directory: string, subject: string): Promise<void> {
  try {
    await go(['mod', 'download'], directory);
  } catch (cause) {
    const { code, stderr = '' } = cause as { code?: string | number; stderr?: string };
    const reason =
      code === 'ENOENT' ? 'go is not installed (1.26 or newer is needed)' : stderr.trim().split('\n').at(-1);
    throw new ControlPlaneUnavailable(`${subject} cannot be built here: ${reason}`, { cause });
  }
}

async function compile(
  { directory, packages, kubernetesVersion }: Part,
  output: string,
  onPackage: () => void,
): Promise<void> {
  // So that the machine, and tests that run meanwhile, stay usable.
  const child = spawn(
    'nice',
    [
      '-n',
      '10',
      'go',
      'build',
      '-v',
      '-o',
      `${output}/`,
      ...toBuildArguments(kubernetesVersion),
      ...packages,
    ],
    {
      cwd: directory,
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  const problems: string[] = [];
  createInterface(child.stderr).on('line', (line) => {
    if (/^[\w.-]+(\/[\w.~-]+)*$/.test(line)) onPackage();
    else problems.push(line);
  });
  const code = await new Promise((resolve, reject) => child.on('error', reject).on('close', resolve));
  if (code !== 0) throw new Error(`go build failed in ${directory}:\n${problems.slice(-20).join('\n')}`);
}

async function go(args: string[], cwd: string): Promise<string> {
  const { stdout } = await promisify(execFile)('go', args, { cwd, env: environment() });
  return stdout;
}

/** Ignores a Go workspace in a folder further up. */
function environment(): NodeJS.ProcessEnv {
  return { ...process.env, GOWORK: 'off' };
}

/** Runs `work` while no other process on this machine holds the lock. A lock of a dead process is ignored. */
async function withLock(
  path: string,
  name: string,
  say: (line: string) => void,
  work: () => Promise<void>,
): Promise<void> {
  for (let waited = 0; ; waited += 1) {
    try {
      await writeFile(path, String(process.pid), { flag: 'wx' });
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const holder = Number(await readFile(path, 'utf8').catch(() => ''));
    if (holder > 0 && !isRunning(holder)) await rm(path, { force: true });
    else {
      if (waited % 120 === 0) {
        say(`${name}: waiting for the build of process ${holder || 'unknown'} (${path})`);
      }
      await delay(250);
    }
  }
  try {
    await work();
  } finally {
    await rm(path, { force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Removes each set of binaries (420 MB) that nobody has used for a month, and what interrupted builds left. */
async function removeUnused(cache: string): Promise<void> {
  for (const name of await readdir(cache)) {
    const path = join(cache, name);
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Date.now() }));
    if (Date.now() - mtimeMs > keepUnusedDays * 24 * 3600 * 1000) {
      await rm(path, { recursive: true, force: true });
    }
  }
}

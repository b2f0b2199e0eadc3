import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { expect } from 'chai';
import { readVersions } from './versions.ts';
import {
  buildKey,
  buildKueue,
  buildPrograms,
  ControlPlaneUnavailable,
  describeProgress,
} from './build-programs.ts';

/** Stands for go: records its arguments, and creates a file for each program. */
const go = `#!/bin/sh
echo "$1 $2" >> "$CALLS"
case "$1 $2" in
  "mod download") [ -z "$OFFLINE" ] || { echo 'go: proxy: no route to host' >&2; exit 1; } ;;
  "build -v")
    echo example.com/one/package >&2
    [ -z "$BROKEN" ] || { echo 'package.go:1: syntax error' >&2; exit 1; }
    case "$PWD" in
      */kueue-*) echo made > "$4kueue" ;;
      *) for name in server kube-apiserver kube-controller-manager kube-scheduler jobset kwok; do echo made > "$4$name"; done ;;
    esac ;;
  "list -m") echo "$MODULE" ;;
esac
`;

describe('buildPrograms', () => {
  let directory: string;
  let said: string[];
  const before = { ...process.env };
  const say = (line: string): void => void said.push(line);
  const calls = async (): Promise<string[]> =>
    (await readFile(join(directory, 'calls'), 'utf8').catch(() => '')).split('\n').filter(Boolean);
  const cached = async (): Promise<string[]> =>
    readdir(join(directory, 'cache', 'autometric-failover', 'control-plane'));

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'build-programs-test-'));
    said = [];
    for (const path of ['bin', 'module/config/components/crd/bases', 'module/config/components/webhook']) {
      await mkdir(join(directory, path), { recursive: true });
    }
    await writeFile(join(directory, 'bin', 'go'), go, { mode: 0o755 });
    await writeFile(
      join(directory, 'module/config/components/crd/bases/jobset.x-k8s.io_jobsets.yaml'),
      'crd',
    );
    await writeFile(join(directory, 'module/config/components/webhook/manifests.yaml'), 'webhooks');
    Object.assign(process.env, {
      PATH: `${join(directory, 'bin')}${delimiter}${before['PATH']}`,
      XDG_CACHE_HOME: join(directory, 'cache'),
      CALLS: join(directory, 'calls'),
      MODULE: join(directory, 'module'),
    });
  });
  afterEach(async () => {
    for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
    Object.assign(process.env, before);
    await rm(directory, { recursive: true });
  });

  it('builds outside the repository, says so, and stores the manifests beside the programs', async () => {
    const built = await buildPrograms(say);
    expect(built).to.equal(
      join(directory, 'cache', 'autometric-failover', 'control-plane', await buildKey()),
    );
    expect(await readdir(built)).to.have.members([
      'etcd',
      'jobset',
      'jobset-crd.yaml',
      'jobset-webhooks.yaml',
      'kube-apiserver',
      'kube-controller-manager',
      'kube-scheduler',
      'kwok',
    ]);
    expect(await readFile(join(built, 'jobset-crd.yaml'), 'utf8')).to.equal('crd');
    expect(said[1]).to.match(/^control plane: building it \(once, /);
    expect(said[2]).to.include('420 MB').and.include('3.0 GB').and.include('0.6 GB');
    expect(said.at(-1)).to.match(/^control plane: built in \d+:\d\d$/);
  });

  it('builds another Kubernetes and JobSet beside it, each of its own module', async () => {
    const own = await buildPrograms(say);
    const asked = (await calls()).length;
    Object.assign(process.env, { KUBERNETES: '1.33', JOBSET: '0.8' });
    const other = await buildPrograms(say);
    expect(other).not.to.equal(own);
    expect(await readdir(other)).to.have.members(await readdir(own));
    expect((await calls()).slice(asked)).to.deep.equal([
      'mod download',
      'mod download',
      'mod download',
      'build -v',
      'build -v',
      'build -v',
      'list -m',
    ]);
  });

  it('builds Kueue of its own module, in a folder of its own, with its CRDs in one file', async () => {
    const crds = join(directory, 'module/config/components/crd/bases');
    await writeFile(join(crds, 'kueue.x-k8s.io_workloads.yaml'), '---\nkind: Workload\n');
    const built = await buildKueue(say);
    expect(built.startsWith(join(directory, 'cache', 'autometric-failover', 'kueue'))).to.equal(true);
    expect(await readdir(built)).to.have.members(['kueue', 'kueue-crds.yaml', 'kueue-webhooks.yaml']);
    expect(await readFile(join(built, 'kueue-crds.yaml'), 'utf8')).to.equal('---\ncrd---\nkind: Workload\n');
    expect(said[0]).to.match(/^Kueue: fetching its Go modules/);
    expect(said.at(-1)).to.match(/^Kueue: built in /);
    expect(await buildKueue(say)).to.equal(built);
    expect(await calls()).to.deep.equal(['mod download', 'build -v', 'list -m']);
  });

  it('says that Kueue cannot be built, in the words of Go', async () => {
    process.env['OFFLINE'] = 'yes';
    const error = await buildKueue(say).catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(ControlPlaneUnavailable);
    expect((error as Error).message).to.equal('Kueue cannot be built here: go: proxy: no route to host');
  });

  it('says how many packages there are in all', () => {
    expect(describeProgress(552, '1:07')).to.equal(
      'control plane: still building, 552 of about 2760 packages compiled, 1:07',
    );
  });

  it('does nothing, prints nothing and needs no Go the second time', async () => {
    const built = await buildPrograms(say);
    const asked = await calls();
    said = [];
    process.env['PATH'] = '';
    expect(await buildPrograms(say)).to.equal(built);
    expect(said).to.deep.equal([]);
    expect(await calls()).to.deep.equal(asked);
  });

  it('builds once when several processes need the programs at once', async () => {
    const built = await Promise.all([buildPrograms(say), buildPrograms(say), buildPrograms(say)]);
    expect(new Set(built).size).to.equal(1);
    expect((await calls()).filter((call) => call === 'build -v')).to.have.length(1);
    expect(said.some((line) => line.startsWith('control plane: waiting for the build of process '))).to.equal(
      true,
    );
  });

  it('takes the lock over from a process that died', async () => {
    await buildPrograms(say);
    const [name = ''] = await cached();
    const target = join(directory, 'cache', 'autometric-failover', 'control-plane', name);
    await rm(target, { recursive: true });
    await writeFile(`${target}.lock`, '999999999');
    expect(await buildPrograms(say)).to.equal(target);
    expect(await cached()).to.deep.equal([name]);
  });

  it('reports a missing Go as ControlPlaneUnavailable, not as a failed build', async () => {
    process.env['PATH'] = '';
    const error = await buildPrograms(say).catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(ControlPlaneUnavailable);
    expect((error as Error).message).to.equal(
      'the control plane cannot be built here: go is not installed (1.26 or newer is needed)',
    );
    expect(await cached()).to.deep.equal([]);
  });

  it('reports modules that cannot be fetched, in the words of Go', async () => {
    process.env['OFFLINE'] = 'yes';
    const error = await buildPrograms(say).catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(ControlPlaneUnavailable);
    expect((error as Error).message).to.equal(
      'the control plane cannot be built here: go: proxy: no route to host',
    );
  });

  it('fails when the build fails, leaves nothing half built, and works the next time', async () => {
    process.env['BROKEN'] = 'yes';
    const error = await buildPrograms(say).catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(Error).and.not.to.be.instanceOf(ControlPlaneUnavailable);
    expect((error as Error).message).to.contain('package.go:1: syntax error');
    expect(await cached()).to.deep.equal([]);
    delete process.env['BROKEN'];
    expect(existsSync(await buildPrograms(say))).to.equal(true);
  });

  it('removes programs that nobody has used for a month', async () => {
    const cache = join(directory, 'cache', 'autometric-failover', 'control-plane');
    for (const [name, days] of [
      ['old', 31],
      ['recent', 29],
    ] as const) {
      await mkdir(join(cache, name), { recursive: true });
      const used = new Date(Date.now() - days * 24 * 3600 * 1000);
      await utimes(join(cache, name), used, used);
    }
    await buildPrograms(say);
    expect(await cached()).to.have.members(['recent', await buildKey()]);
  });
});

describe('buildKey', () => {
  it('changes with go.mod and with go.sum', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'build-key-test-'));
    const keyOf = async (mod: string, sum: string): Promise<string> => {
      await writeFile(join(directory, 'go.mod'), mod);
      await writeFile(join(directory, 'go.sum'), sum);
      return buildKey(readVersions({}, directory));
    };
    const keys = [await keyOf('a', 'b'), await keyOf('a', 'c'), await keyOf('d', 'b'), await keyOf('a', 'b')];
    await rm(directory, { recursive: true });
    expect(new Set(keys).size).to.equal(3);
    expect(keys[3]).to.equal(keys[0]);
  });
});

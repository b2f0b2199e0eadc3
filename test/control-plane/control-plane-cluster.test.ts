import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { buildPrograms, ControlPlaneUnavailable } from './build-programs.ts';
import { externalClusterVariable, startControlPlane } from './control-plane.ts';
import type { ControlPlane } from './capabilities.ts';
import { eventually } from './eventually.ts';
import { createKubernetesClient } from './kubernetes-client.ts';
import type { KubernetesList, Node } from './kubernetes-client.ts';
import { readVersions } from './versions.ts';

const serve = join(import.meta.dirname, 'serve.ts');
const nodes = '/api/v1/nodes';

describe('startControlPlane', function () {
  let controlPlane: ControlPlane;
  const external = process.env[externalClusterVariable];

  before(async function () {
    this.timeout(0); // It may have to be built.
    // These tests are about a control plane of our own.
    delete process.env[externalClusterVariable];
    try {
      controlPlane = await startControlPlane();
    } catch (error) {
      if (!(error instanceof ControlPlaneUnavailable)) throw error;
      console.log(`  not run: ${error.message}`);
      this.skip();
    }
  });
  after(async () => {
    if (external !== undefined) process.env[externalClusterVariable] = external;
    await (controlPlane as ControlPlane | undefined)?.stop();
  });

  it('serves the version of Kubernetes that it is built from', async () => {
    const { gitVersion, major, minor } = await controlPlane.admin.get<Record<string, string>>('/version');
    const { kubernetes } = readVersions(process.env);
    const [ofMajor, ofMinor] = kubernetes.slice(1).split('.');
    expect({ gitVersion, major, minor }).to.deep.equal({
      gitVersion: kubernetes,
      major: ofMajor,
      minor: ofMinor,
    });
  });

  it('returns a kubeconfig that works with kubectl', async function () {
    const kubectl = promisify(execFile);
    const { stdout } = await kubectl('kubectl', ['get', '--raw', '/readyz'], {
      env: { ...process.env, KUBECONFIG: controlPlane.kubeconfigPath },
    }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      console.log('  not run: kubectl is not installed');
      return this.skip();
    });
    expect(stdout).to.equal('ok');
  });

  it('returns tokens for any user, with groups', async () => {
    const token = controlPlane.token('fn@project.iam.gserviceaccount.com', ['testers']);
    const client = createKubernetesClient({ url: controlPlane.url, ca: controlPlane.ca, token });
    const review = await client.post<{ status: { userInfo: { username: string; groups: string[] } } }>(
      '/apis/authentication.k8s.io/v1/selfsubjectreviews',
      { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' },
    );
    await client.close();
    expect(review.status.userInfo.username).to.equal('fn@project.iam.gserviceaccount.com');
    expect(review.status.userInfo.groups).to.have.members(['testers', 'system:authenticated']);
  });

  it('allows such a user what RBAC grants, as soon as it is granted', async () => {
    const client = createKubernetesClient({
      url: controlPlane.url,
      ca: controlPlane.ca,
      token: controlPlane.token('reader@example.com'),
    });
    expect((await client.request('GET', nodes)).status).to.equal(403);
    const rbac = '/apis/rbac.authorization.k8s.io/v1';
    await controlPlane.admin.post(`${rbac}/clusterroles`, {
      metadata: { name: 'node-reader' },
      rules: [{ apiGroups: [''], resources: ['nodes'], verbs: ['list'] }],
    });
    await controlPlane.admin.post(`${rbac}/clusterrolebindings`, {
      metadata: { name: 'node-reader' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'node-reader' },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'reader@example.com' }],
    });
    await eventually('the role holds', async () => (await client.request('GET', nodes)).status === 200);
    expect((await client.request('GET', `${nodes}/x`)).status).to.equal(403);
    await client.close();
  });

  it('leaves nothing of the JobSet that tells it that all is ready', async () => {
    const list = async (path: string): Promise<number> =>
      (await controlPlane.admin.get<KubernetesList<Node>>(path)).items?.length ?? 0;
    expect(await list(nodes)).to.equal(0);
    expect(await list('/api/v1/pods')).to.equal(0);
    expect(await list('/apis/jobset.x-k8s.io/v1alpha2/jobsets')).to.equal(0);
  });

  it('runs JobSets but gives out no tokens if it is given by its kubeconfig', async () => {
    process.env[externalClusterVariable] = controlPlane.kubeconfigPath;
    const given = await startControlPlane();
    delete process.env[externalClusterVariable];
    expect(given.can).to.deep.equal({ beAnyone: false, runJobSets: true });
    expect(given.skips).to.have.length(1);
    expect(() => given.token('anybody')).to.throw(/gives out no token for anybody/);
    await given.stop();
    expect((await controlPlane.admin.request('GET', '/readyz')).status).to.equal(200);
  });

  it('names the program that ended by itself', async () => {
    const said: string[] = [];
    const other = await startControlPlane({ say: (line) => said.push(line), apiOnly: true });
    const directory = dirname(other.kubeconfigPath);
    const { programs } = await groupOf(directory);
    process.kill(programs.get('etcd') ?? 0, 'SIGKILL');
    await eventually('it is said', () => said.includes('control plane: etcd ended by itself (SIGKILL)'));
    await other.stop();
    expect(existsSync(directory)).to.equal(false);
  });

  it('shows the log of a program that ends too early, and leaves nothing behind', async () => {
    const cache = await mkdtemp(join(tmpdir(), 'control-plane-test-'));
    const binaries = await buildPrograms();
    const broken = join(cache, 'autometric-failover', 'control-plane', basename(binaries));
    await mkdir(broken, { recursive: true });
    for (const name of await readdir(binaries)) await symlink(join(binaries, name), join(broken, name));
    await rm(join(broken, 'kube-apiserver'));
    const script = '#!/bin/sh\necho "the reason that it gave"\nexit 7\n';
    await writeFile(join(broken, 'kube-apiserver'), script, { mode: 0o755 });
    const before = process.env['XDG_CACHE_HOME'];
    process.env['XDG_CACHE_HOME'] = cache;
    const error = await startControlPlane({ say: () => {} }).catch((thrown: unknown) => thrown);
    if (before === undefined) delete process.env['XDG_CACHE_HOME'];
    else process.env['XDG_CACHE_HOME'] = before;
    await rm(cache, { recursive: true });
    expect((error as Error).message).to.equal(
      'control plane: kube-apiserver ended by itself (exit code 7)\nthe reason that it gave',
    );
  });

  for (const signal of ['SIGKILL', 'SIGINT', 'SIGTERM'] as const) {
    it(`leaves no process and no file behind when serve.ts gets ${signal}`, async () => {
      const child = spawn(process.execPath, [serve], { stdio: ['ignore', 'pipe', 'ignore'] });
      const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
      const kubeconfig = /^export KUBECONFIG=(.+)$/.exec(line)?.[1] ?? '';
      const directory = dirname(kubeconfig);
      const { id, programs } = await groupOf(directory);
      expect([...programs.keys()]).to.have.members(programNames);
      child.kill(signal);
      const [code] = (await once(child, 'exit')) as [number | null];
      expect(code).to.equal(signal === 'SIGKILL' ? null : 0);
      await eventually(
        'all is gone',
        async () => !existsSync(directory) && (await processesOf(id)).length === 0,
      );
    });
  }
});

const programNames = [
  'etcd',
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kwok',
  'jobset',
];

interface Process {
  pid: number;
  group: number;
  command: string;
}

/** The process group of the control plane that runs in a directory, and its programs. */
async function groupOf(directory: string): Promise<{ id: number; programs: Map<string, number> }> {
  const supervisor = (await listProcesses()).find(({ command }) =>
    command.endsWith(`process-supervisor.ts ${directory}`),
  );
  if (supervisor === undefined) throw new Error(`no control plane runs in ${directory}`);
  const others = (await processesOf(supervisor.group)).filter(({ pid }) => pid !== supervisor.pid);
  const programs = others.map(({ pid, command }) => [basename(command.split(' ')[0] ?? ''), pid] as const);
  return { id: supervisor.group, programs: new Map(programs) };
}

async function processesOf(group: number): Promise<Process[]> {
  return (await listProcesses()).filter((each) => each.group === group);
}

/** Those that run: a zombie has ended already. */
async function listProcesses(): Promise<Process[]> {
  const { stdout } = await promisify(execFile)('ps', ['-A', '-o', 'pid=,pgid=,stat=,args='], {
    maxBuffer: 1 << 24,
  });
  return stdout.split('\n').flatMap((line) => {
    const [, pid, group, state, command] = /^ *(\d+) +(\d+) +(\S+) +(.*)$/.exec(line) ?? [];
    if (command === undefined || state?.startsWith('Z')) return [];
    return [{ pid: Number(pid), group: Number(group), command }];
  });
}

/** A real Kubernetes control plane on loopback: etcd, API server, controllers, scheduler, JobSet, and KWOK for kubelets. */
import { mkdtemp, readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { join } from 'node:path';
import { buildPrograms } from './build-programs.ts';
import type { ControlPlane } from './capabilities.ts';
import { eventually } from './eventually.ts';
import { connectExternalCluster, marker } from './external-cluster.ts';
import { createKubernetesClient } from './kubernetes-client.ts';
import type { KubernetesClient } from './kubernetes-client.ts';
import { createKwokMachines } from './kwok-machines.ts';
import { superviseProcesses } from './process-supervisor.ts';
import type { ProcessSupervisor } from './process-supervisor.ts';
import { createPrograms } from './programs.ts';
import type { Programs } from './programs.ts';
import { serveTokenReview } from './token-review.ts';
import { createWorld } from './world.ts';

export interface ControlPlaneOptions {
  /** Progress, a line each; standard error unless given. */
  say?: (line: string) => void;
  /** Only etcd and the API server, as envtest has it. */
  apiOnly?: boolean;
}

/** Names the kubeconfig of a cluster to use instead: kind, envtest, or one that serve.ts keeps running. */
export const externalClusterVariable = 'KUBECONFIG_UNDER_TEST';

/**
 * Starts a control plane and answers once a JobSet's pod runs on one of its nodes, which takes all six programs: 7 to
 * 10 s. The first time on a machine it is built, which takes minutes. No process and no file stays behind, however the
 * calling process ends.
 * @throws ControlPlaneUnavailable where it cannot be built on this machine
 */
export async function startControlPlane(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
  const { say = console.error, apiOnly = false } = options;
  const given = process.env[externalClusterVariable];
  if (given !== undefined && given !== '') return connectExternalCluster(given);

  const binaries = await buildPrograms(say);
  const directory = await mkdtemp(join(tmpdir(), 'autometric-failover-control-plane-'));
  const supervisor = superviseProcesses(directory);
  const tokens = await serveTokenReview();
  const [apiPort, jobSetWebhookPort] = await freePorts(2);
  const programs = await createPrograms({
    binaries,
    directory,
    apiPort: apiPort ?? 0,
    jobSetWebhookPort: jobSetWebhookPort ?? 0,
    tokenReviewUrl: tokens.url,
    apiOnly,
  });
  const admin = createKubernetesClient({ url: programs.url, ca: programs.ca, ...programs.admin });
  let stopping = false;
  const stop = async (): Promise<void> => {
    stopping = true;
    await admin.close();
    await supervisor.stop();
    tokens.close();
  };

  const crashing = new Map<string, () => void>();
  /** From the first crash on, whatever ends is started anew, as a kubelet does: JobSet ends itself without an API server. */
  let isKeptRunning = false;
  const startAnew = (name: string): void => {
    const all = [
      programs.etcd,
      programs.apiServer,
      ...programs.schedulerAndKubelets,
      ...programs.controllers,
    ];
    const program = all.find((each) => each.name === name);
    if (program && !stopping) supervisor.start(program);
  };
  const failed = new Promise<never>((_resolve, reject) => {
    supervisor.onExit(({ name, outcome }) => {
      if (stopping) return;
      if (isKeptRunning) {
        crashing.get(name)?.();
        setTimeout(() => startAnew(name), 1_000).unref();
        return;
      }
      const problem = `control plane: ${name} ended by itself (${outcome})`;
      say(problem);
      void lastLines(join(directory, `${name}.log`)).then((lines) =>
        reject(new Error(`${problem}\n${lines}`)),
      );
    });
  });
  // After the start nothing waits for it. The message is enough, and the next request fails by itself.
  failed.catch(() => {});
  try {
    await Promise.race([bringUp(supervisor, programs, admin, apiOnly), failed]);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url: programs.url,
    ca: programs.ca,
    kubeconfigPath: programs.kubeconfigPath,
    admin,
    token: (user, groups) => tokens.token(user, groups),
    can: { beAnyone: true, runJobSets: !apiOnly },
    skips: apiOnly ? ['what needs JobSets that run: only etcd and the API server were started'] : [],
    async crash(name) {
      isKeptRunning = true;
      const gone = new Promise<void>((resolve) => crashing.set(name, resolve));
      supervisor.kill(name);
      // It may have ended by itself a moment ago.
      await Promise.race([gone, delay(5_000, undefined, { ref: false })]);
    },
    stop,
  };
}

async function bringUp(
  supervisor: ProcessSupervisor,
  programs: Programs,
  admin: KubernetesClient,
  apiOnly: boolean,
): Promise<void> {
  supervisor.start(programs.etcd);
  supervisor.start(programs.apiServer);
  const slow = { timeoutMs: 120_000 };
  await eventually(
    'the API server is ready',
    async () => (await admin.request('GET', '/readyz')).status === 200,
    slow,
  );
  if (apiOnly) return;

  for (const program of programs.schedulerAndKubelets) supervisor.start(program);
  await admin.request('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', {
    body: programs.customResourceDefinition,
    contentType: 'application/yaml',
  });
  const jobSets = '/apis/jobset.x-k8s.io/v1alpha2/jobsets';
  await eventually(
    'JobSets are served',
    async () => (await admin.request('GET', jobSets)).status === 200,
    slow,
  );
  for (const program of programs.controllers) supervisor.start(program);
  for (const configuration of programs.webhookConfigurations) {
    const { kind } = configuration as { kind: string };
    await admin.post(`/apis/admissionregistration.k8s.io/v1/${kind.toLowerCase()}s`, configuration);
  }
  await runFirstPod(admin);
  await admin.post(`/api/v1/namespaces/${marker.namespace}/configmaps`, { metadata: { name: marker.name } });
}

/** A running pod of a JobSet proves that each program works. */
async function runFirstPod(admin: KubernetesClient): Promise<void> {
  const slow = { timeoutMs: 60_000 };
  const world = createWorld(admin, createKwokMachines(admin));
  const spec = { name: 'first', pool: 'first', parallelism: 1 };
  await world.addTpuSlice('first', { nodes: 1 });
  await eventually('JobSet takes a JobSet', () => world.addJobSet(spec).then(() => true), slow);
  await eventually("a JobSet's pod runs", async () => (await world.runningPods('first')).length === 1, slow);
  await world.removeAll();
}

/** Ports that were free a moment ago, all different. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve, reject) => {
          const server = createServer();
          server.once('error', reject).listen(0, '127.0.0.1', () => resolve(server));
        }),
    ),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

export async function lastLines(path: string): Promise<string> {
  const log = await readFile(path, 'utf8').catch(() => '');
  return log.trim().split('\n').slice(-15).join('\n');
}

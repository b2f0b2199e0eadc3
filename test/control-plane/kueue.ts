/** Kueue's own controller beside a control plane: its CRDs, its webhooks and its program, as its manifests have them. */
import { mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { buildKueue } from './build-programs.ts';
import type { ControlPlane } from './capabilities.ts';
import { createCertificateAuthority } from './certificates.ts';
import { freePorts, lastLines } from './control-plane.ts';
import { eventually } from './eventually.ts';
import type { KubernetesObject } from './kubernetes-client.ts';
import { superviseProcesses } from './process-supervisor.ts';
import type { ProcessSupervisor } from './process-supervisor.ts';

export interface Kueue {
  /** Starts the controller, instead of the one that runs, with these fields in its configuration. */
  run(configuration?: object): Promise<void>;
  stop(): Promise<void>;
}

export interface Workload extends KubernetesObject {
  spec: { active?: boolean; queueName: string };
  status?: {
    conditions?: {
      type: string;
      status: string;
      reason: string;
      message: string;
      lastTransitionTime: string;
    }[];
    admission?: {
      clusterQueue: string;
      podSetAssignments: {
        name: string;
        flavors: Record<string, string>;
        resourceUsage: Record<string, string>;
        topologyAssignment?: object;
      }[];
    };
    requeueState?: { count?: number; requeueAt?: string };
    unhealthyNodes?: { name: string }[];
    schedulingStats?: { evictions: { reason: string; count: number }[] };
  };
}

export const kueueApi = '/apis/kueue.x-k8s.io/v1beta2';
const namespace = 'kueue-system';
const service = 'kueue-webhook-service';
const secret = 'kueue-webhook-server-cert';
/** The kinds whose older versions its own manifests convert by a webhook. */
const converted = ['localqueues', 'clusterqueues', 'cohorts', 'workloads', 'multikueueclusters'];
/** Those of its default configuration that are served here. */
const frameworks = ['batch/job', 'jobset.x-k8s.io/jobset', 'pod'];
const ofFrameworks = /-(kueue-x-k8s-io|batch-v1-job|jobset-x-k8s-io|-v1-pod)(-|$)/;

/**
 * Builds Kueue, the first time, and prepares a control plane for it.
 * @throws ControlPlaneUnavailable where it cannot be built on this machine
 */
export async function prepareKueue(controlPlane: ControlPlane): Promise<Kueue> {
  const { admin } = controlPlane;
  const binaries = await buildKueue();
  const [port = 0] = await freePorts(1);
  const url = `https://127.0.0.1:${port}`;
  // Kueue keeps a certificate that it finds, if the authority has this name and such a key.
  const authority = createCertificateAuthority('kueue-ca', { names: ['kueue-ca'], isRsa: true });
  const serving = authority.issue({ commonName: service }, [`${service}.${namespace}.svc`, '127.0.0.1']);
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  const clientConfig = (path: string) => ({ url: `${url}${path}`, caBundle: base64(authority.certificate) });

  await admin.post('/api/v1/namespaces', { metadata: { name: namespace } });
  await admin.post(`/api/v1/namespaces/${namespace}/secrets`, {
    metadata: { name: secret },
    data: {
      'ca.crt': base64(authority.certificate),
      'ca.key': base64(authority.key),
      'tls.crt': base64(serving.certificate),
      'tls.key': base64(serving.key),
    },
  });
  for (const crd of await readObjects(join(binaries, 'kueue-crds.yaml'))) {
    const { spec } = crd as unknown as { spec: { names: { plural: string }; conversion?: object } };
    if (converted.includes(spec.names.plural)) {
      const webhook = { clientConfig: clientConfig('/convert'), conversionReviewVersions: ['v1'] };
      spec.conversion = { strategy: 'Webhook', webhook };
    }
    await admin.post('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', crd);
  }
  await eventually(
    'Workloads are served',
    async () => (await admin.request('GET', `${kueueApi}/workloads`)).status === 200,
  );
  for (const configuration of await readObjects(join(binaries, 'kueue-webhooks.yaml'))) {
    const { kind, metadata, webhooks } = configuration as unknown as WebhookConfiguration;
    metadata.name = `kueue-${metadata.name}`;
    const served = webhooks.filter(({ clientConfig: { service: its } }) => ofFrameworks.test(its.path));
    const body = served.map((webhook) => ({
      ...webhook,
      clientConfig: clientConfig(webhook.clientConfig.service.path),
    }));
    await admin.post(`/apis/admissionregistration.k8s.io/v1/${kind.toLowerCase()}s`, {
      ...configuration,
      webhooks: body,
    });
  }

  let running: ProcessSupervisor | undefined;
  let stopping = false;
  const stop = async (): Promise<void> => {
    stopping = true;
    await running?.stop();
    running = undefined;
  };
  return {
    stop,
    async run(configuration = {}) {
      await stop();
      stopping = false;
      const directory = await mkdtemp(join(tmpdir(), 'autometric-failover-kueue-'));
      const certDir = join(directory, 'certificates');
      await mkdir(certDir);
      const files = {
        'certificates/tls.crt': serving.certificate,
        'certificates/tls.key': serving.key,
        'kueue.json': JSON.stringify(toConfiguration(certDir, port, configuration)),
      };
      for (const [name, content] of Object.entries(files)) {
        await writeFile(join(directory, name), content, { mode: 0o600 });
      }
      running = superviseProcesses(directory);
      const failed = new Promise<never>((_resolve, reject) => {
        running?.onExit(({ outcome }) => {
          if (stopping) return;
          void lastLines(join(directory, 'kueue.log')).then((lines) =>
            reject(new Error(`Kueue ended by itself (${outcome})\n${lines}`)),
          );
        });
      });
      failed.catch(() => {});
      running.start({
        name: 'kueue',
        command: join(binaries, 'kueue'),
        args: [
          `--config=${join(directory, 'kueue.json')}`,
          `--kubeconfig=${controlPlane.kubeconfigPath}`,
          '--zap-log-level=3',
        ],
      });
      const takesQueues = eventually(
        'Kueue answers for its webhooks',
        async () => {
          const body = toKueueObject('ClusterQueue', 'probe', {});
          const { status, text } = await admin.request('POST', `${kueueApi}/clusterqueues?dryRun=All`, {
            body,
          });
          if (status !== 201) throw new Error(text);
          return true;
        },
        { timeoutMs: 60_000 },
      );
      await Promise.race([takesQueues, failed]);
    },
  };
}

export function toKueueObject(kind: string, name: string, spec: object): object {
  return { apiVersion: 'kueue.x-k8s.io/v1beta2', kind, metadata: { name }, spec };
}

interface WebhookConfiguration {
  kind: string;
  metadata: { name: string };
  webhooks: { clientConfig: { service: { path: string } } }[];
}

async function readObjects(path: string): Promise<object[]> {
  return parseAllDocuments(await readFile(path, 'utf8'))
    .map((document) => document.toJS() as object)
    .filter(Boolean);
}

function toConfiguration(certDir: string, port: number, more: object): object {
  return {
    apiVersion: 'config.kueue.x-k8s.io/v1beta2',
    kind: 'Configuration',
    namespace,
    health: { healthProbeBindAddress: '0' },
    metrics: { bindAddress: '0' },
    leaderElection: { leaderElect: false },
    webhook: { host: '127.0.0.1', port, certDir },
    internalCertManagement: { enable: true, webhookServiceName: service, webhookSecretName: secret },
    integrations: { frameworks },
    // It serves a list of its queues on a port of its own.
    featureGates: { VisibilityOnDemand: false },
    ...more,
  };
}

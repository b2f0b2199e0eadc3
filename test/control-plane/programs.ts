/** The command lines of the control plane's programs and the files that they read. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { createCertificateAuthority, createKeyPair } from './certificates.ts';
import type { Program } from './process-supervisor.ts';

export interface ProgramsOptions {
  /** Where `buildPrograms` put the binaries. */
  binaries: string;
  /** Where the programs run and their files lie. */
  directory: string;
  apiPort: number;
  jobSetWebhookPort: number;
  tokenReviewUrl: string;
  /** Start only etcd and the API server. */
  apiOnly: boolean;
}

export interface Programs {
  url: string;
  ca: string;
  /** A client certificate of the group `system:masters`. */
  admin: { certificate: string; key: string };
  kubeconfigPath: string;
  etcd: Program;
  apiServer: Program;
  /** Each waits for what it needs. */
  schedulerAndKubelets: Program[];
  /**
   * To be started once JobSets are served: JobSet gives up for ten seconds when they are not, and the garbage collector
   * looks for new kinds every thirty.
   */
  controllers: Program[];
  /** JobSet's CustomResourceDefinition, as YAML. */
  customResourceDefinition: string;
  /** JobSet's admission webhooks, as objects to create. */
  webhookConfigurations: object[];
}

/** Only the controllers that the tests need, because each costs memory and start-up time. */
const controllerNames = [
  'job-controller',
  'garbage-collector-controller',
  'namespace-controller',
  'serviceaccount-controller',
  'serviceaccount-token-controller',
  'root-ca-certificate-publisher-controller',
  'node-lifecycle-controller',
  'taint-eviction-controller',
  'pod-garbage-collector-controller',
  'ttl-after-finished-controller',
  'disruption-controller',
  'clusterrole-aggregation-controller',
];

/** Writes certificates and configuration into the directory and answers how to start each program. */
export async function createPrograms(options: ProgramsOptions): Promise<Programs> {
  const { binaries, directory, apiPort, jobSetWebhookPort } = options;
  const url = `https://127.0.0.1:${apiPort}`;
  const authority = createCertificateAuthority('autometric-failover-test');
  const loopback = ['127.0.0.1', 'localhost'];
  const serving = authority.issue({ commonName: 'kube-apiserver' }, [
    ...loopback,
    'kubernetes',
    'kubernetes.default',
    'kubernetes.default.svc',
    '10.0.0.1',
  ]);
  const admin = authority.issue({ commonName: 'admin', organization: 'system:masters' });
  const webhook = authority.issue({ commonName: 'jobset-webhook' }, loopback);
  const serviceAccounts = createKeyPair();

  const path = (name: string): string => join(directory, name);
  await mkdir(path('webhook'));
  const files: Record<string, string> = {
    'ca.crt': authority.certificate,
    'apiserver.crt': serving.certificate,
    'apiserver.key': serving.key,
    'webhook/tls.crt': webhook.certificate,
    'webhook/tls.key': webhook.key,
    'service-accounts.pub': serviceAccounts.publicKey,
    'service-accounts.key': serviceAccounts.privateKey,
    'token-review.json': JSON.stringify(tokenReviewConfiguration(options.tokenReviewUrl)),
    'jobset.json': JSON.stringify(jobSetConfiguration(path('webhook'), jobSetWebhookPort)),
    kubeconfig: JSON.stringify(kubeconfig(url, authority.certificate, admin), null, 2),
  };
  for (const [name, content] of Object.entries(files)) await writeFile(path(name), content, { mode: 0o600 });

  const program = (name: string, args: string[]): Program => ({ name, command: join(binaries, name), args });
  return {
    url,
    ca: authority.certificate,
    admin,
    kubeconfigPath: path('kubeconfig'),
    // Sockets in the working directory, which etcd and the API server share: no port to find, nothing to protect.
    etcd: program('etcd', [
      '--data-dir=data',
      '--listen-client-urls=unix://etcd:1',
      '--advertise-client-urls=unix://etcd:1',
      '--listen-peer-urls=unix://peer:1',
      '--initial-advertise-peer-urls=unix://peer:1',
      '--initial-cluster=default=unix://peer:1',
      '--unsafe-no-fsync',
      '--log-level=warn',
    ]),
    apiServer: program('kube-apiserver', [
      '--etcd-servers=unix://etcd:1',
      '--bind-address=127.0.0.1',
      '--advertise-address=127.0.0.1',
      `--secure-port=${apiPort}`,
      '--endpoint-reconciler-type=none',
      `--tls-cert-file=${path('apiserver.crt')}`,
      `--tls-private-key-file=${path('apiserver.key')}`,
      `--client-ca-file=${path('ca.crt')}`,
      `--authentication-token-webhook-config-file=${path('token-review.json')}`,
      '--authentication-token-webhook-version=v1',
      '--service-account-issuer=https://kubernetes.default.svc',
      `--service-account-key-file=${path('service-accounts.pub')}`,
      `--service-account-signing-key-file=${path('service-accounts.key')}`,
      '--authorization-mode=Node,RBAC',
      // As on GKE: a pod that asks for google.com/tpu tolerates the taint of that name.
      '--enable-admission-plugins=ExtendedResourceToleration',
      // Nothing creates the service account that each pod would get.
      ...(options.apiOnly ? ['--disable-admission-plugins=ServiceAccount'] : []),
      '--service-cluster-ip-range=10.0.0.0/24',
      '--allow-privileged',
      '--profiling=false',
      '--shutdown-delay-duration=0s',
      '--max-requests-inflight=2000',
      '--max-mutating-requests-inflight=1000',
    ]),
    schedulerAndKubelets: [
      program('kube-scheduler', [
        `--kubeconfig=${path('kubeconfig')}`,
        '--leader-elect=false',
        '--secure-port=0',
      ]),
      program('kwok', [
        `--kubeconfig=${path('kubeconfig')}`,
        `--config=${join(import.meta.dirname, 'stages.yaml')}`,
        '--manage-all-nodes=true',
        '--node-lease-duration-seconds=0',
        '--node-ip=127.0.0.1',
        '--node-port=0',
      ]),
    ],
    controllers: [
      program('kube-controller-manager', [
        `--kubeconfig=${path('kubeconfig')}`,
        '--leader-elect=false',
        '--secure-port=0',
        `--controllers=${controllerNames.join(',')}`,
        `--service-account-private-key-file=${path('service-accounts.key')}`,
        `--root-ca-file=${path('ca.crt')}`,
        // Nothing sends heartbeats. A node stays Ready until a test says otherwise, which is noticed at once.
        '--node-monitor-grace-period=24h',
        '--node-monitor-period=1s',
      ]),
      program('jobset', [`--kubeconfig=${path('kubeconfig')}`, `--config=${path('jobset.json')}`]),
    ],
    customResourceDefinition: await readFile(join(binaries, 'jobset-crd.yaml'), 'utf8'),
    webhookConfigurations: toWebhookConfigurations(
      await readFile(join(binaries, 'jobset-webhooks.yaml'), 'utf8'),
      `https://127.0.0.1:${jobSetWebhookPort}`,
      authority.certificate,
    ),
  };
}

function kubeconfig(url: string, ca: string, user: { certificate: string; key: string }): object {
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  return {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server: url, 'certificate-authority-data': base64(ca) } }],
    users: [
      {
        name: 'admin',
        user: { 'client-certificate-data': base64(user.certificate), 'client-key-data': base64(user.key) },
      },
    ],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'admin' } }],
    'current-context': 'test',
  };
}

function tokenReviewConfiguration(server: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'tokens', cluster: { server } }],
    contexts: [{ name: 'tokens', context: { cluster: 'tokens', user: '' } }],
    'current-context': 'tokens',
  };
}

function jobSetConfiguration(certDir: string, port: number): object {
  return {
    apiVersion: 'config.jobset.x-k8s.io/v1alpha1',
    kind: 'Configuration',
    leaderElection: { leaderElect: false },
    internalCertManagement: { enable: false },
    webhook: { host: '127.0.0.1', port, certDir },
    metrics: { bindAddress: '0' },
    health: { healthProbeBindAddress: '0' },
  };
}

interface WebhookConfiguration {
  metadata: { name: string };
  webhooks: {
    clientConfig: { service?: { path: string }; url?: string; caBundle?: string };
    rules: { resources: string[] }[];
    objectSelector?: object;
  }[];
}

/** JobSet's own manifests, with the address of a program on loopback instead of a Service. */
function toWebhookConfigurations(manifests: string, url: string, ca: string): object[] {
  return parseAllDocuments(manifests).map((document) => {
    const configuration = document.toJS() as WebhookConfiguration;
    configuration.metadata.name = `jobset-${configuration.metadata.name}`;
    for (const webhook of configuration.webhooks) {
      webhook.clientConfig = {
        url: `${url}${webhook.clientConfig.service?.path ?? ''}`,
        caBundle: Buffer.from(ca).toString('base64'),
      };
      // Without it, each pod of each test would go through the webhooks.
      if (webhook.rules.some((rule) => rule.resources.includes('pods'))) {
        webhook.objectSelector = {
          matchExpressions: [{ key: 'jobset.sigs.k8s.io/jobset-name', operator: 'Exists' }],
        };
      }
    }
    return configuration;
  });
}

/** A cluster that exists already (kind, envtest, or one that serve.ts keeps running) in place of a control plane of ours. */
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parse } from 'yaml';
import type { ControlPlane } from './capabilities.ts';
import { createKubernetesClient } from './kubernetes-client.ts';

/** The ConfigMap by which a cluster says that it is one of ours: nodes come up in it, and JobSets run. */
export const marker = { namespace: 'kube-system', name: 'autometric-failover-test-control-plane' };

/**
 * Reads the kubeconfig's current context and answers what that cluster can do. It changes nothing in the cluster, and
 * `stop` leaves it as it is.
 */
export async function connectExternalCluster(kubeconfigPath: string): Promise<ControlPlane> {
  const { url, ca, ...credentials } = await readCurrentContext(kubeconfigPath);
  const admin = createKubernetesClient({ url, ca, ...credentials });
  const { status } = await admin.request(
    'GET',
    `/api/v1/namespaces/${marker.namespace}/configmaps/${marker.name}`,
  );
  const runJobSets = status === 200;
  return {
    url,
    ca,
    kubeconfigPath,
    admin,
    token(user) {
      throw new Error(
        `the cluster of ${kubeconfigPath} gives out no token for ${user}: only a control plane of ours does`,
      );
    },
    can: { beAnyone: false, runJobSets },
    skips: [
      `what needs a token of any user: ${kubeconfigPath} has one user only`,
      ...(runJobSets
        ? []
        : [`what needs JobSets that run and machines that die: ${kubeconfigPath} has no such nodes`]),
    ],
    stop: () => admin.close(),
  };
}

interface Kubeconfig {
  'current-context': string;
  contexts: { name: string; context: { cluster: string; user: string } }[];
  clusters: { name: string; cluster: Record<string, string | undefined> }[];
  users: { name: string; user: Record<string, string | undefined> }[];
}

async function readCurrentContext(
  path: string,
): Promise<{ url: string; ca: string; token?: string; certificate?: string; key?: string }> {
  const config = parse(await readFile(path, 'utf8')) as Kubeconfig;
  const context = config.contexts.find(({ name }) => name === config['current-context'])?.context;
  const cluster = config.clusters.find(({ name }) => name === context?.cluster)?.cluster;
  const user = config.users.find(({ name }) => name === context?.user)?.user;
  if (cluster?.['server'] === undefined || user === undefined) {
    throw new Error(`the kubeconfig ${path} has no cluster and user for its current context`);
  }
  /** A field may hold base64 itself, or the name of a file that holds PEM. */
  const read = async (
    entry: Record<string, string | undefined>,
    field: string,
  ): Promise<string | undefined> => {
    const data = entry[`${field}-data`];
    if (data !== undefined) return Buffer.from(data, 'base64').toString();
    const file = entry[field];
    return file === undefined ? undefined : readFile(resolve(dirname(path), file), 'utf8');
  };
  const [ca = '', certificate, key] = await Promise.all([
    read(cluster, 'certificate-authority'),
    read(user, 'client-certificate'),
    read(user, 'client-key'),
  ]);
  const token = user['token'];
  if (token === undefined && certificate === undefined) {
    throw new Error(
      `the kubeconfig ${path} has neither a token nor a client certificate; plugins are not run here`,
    );
  }
  return {
    url: cluster['server'],
    ca,
    ...(token !== undefined && { token }),
    ...(certificate !== undefined && { certificate }),
    ...(key !== undefined && { key }),
  };
}

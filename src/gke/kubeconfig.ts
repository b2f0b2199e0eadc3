import type { RequestOptions } from 'node:https';
import type { KubeConfig } from '@kubernetes/client-node';
import { FailoverError } from '../errors.ts';
import type { ClusterEndpoint } from './transport.ts';

/**
 * Reads a context of the kubeconfig, for local runs against kind. The parser is loaded only here.
 *
 * @throws {FailoverError} `target_not_found` if there is no such context; `upstream_failed` if it cannot be used
 */
export async function readKubeconfig(context: string): Promise<ClusterEndpoint> {
  const { KubeConfig } = await import('@kubernetes/client-node/dist/config.js');
  const kubeconfig = new KubeConfig();
  await orUnusable(context, 'cannot be read', async () => kubeconfig.loadFromDefault());
  kubeconfig.setCurrentContext(context);
  const cluster = kubeconfig.getCurrentCluster();
  if (!cluster || !kubeconfig.getCurrentUser()) {
    const contexts = kubeconfig.getContexts().map(({ name }) => name);
    const known = contexts.length > 0 ? `its contexts: ${contexts.join(', ')}` : 'it has no contexts';
    throw new FailoverError(
      'target_not_found',
      `the kubeconfig has no context ${context} with a cluster and a user (KUBECONFIG_CONTEXT); ${known}`,
    );
  }
  assertSupported(kubeconfig, context);
  const options: RequestOptions = {};
  await orUnusable(context, 'gives no credentials, or names a file that is not there', () =>
    kubeconfig.applyToHTTPSOptions(options),
  );
  const { ca, cert, key } = options as { ca?: Buffer; cert?: Buffer; key?: Buffer };
  const { Authorization: authorization } = (options.headers ?? {}) as { Authorization?: string };
  return {
    server: cluster.server,
    tls: {
      ca: ca?.toString(),
      cert: cert?.toString(),
      key: key?.toString(),
      servername: cluster.tlsServerName,
    },
    token: authorization?.replace(/^Bearer /, ''),
    isAutopilot: false,
  };
}

/** A field that is left out would connect to another server, or as another user, than kubectl does. */
function assertSupported(kubeconfig: KubeConfig, context: string): void {
  const { server, skipTLSVerify, proxyUrl } = kubeconfig.getCurrentCluster() ?? {};
  const { username, impersonateUser } = kubeconfig.getCurrentUser() ?? {};
  if (!server?.startsWith('https:')) {
    const advice = 'name the context that kubectl proxy itself uses';
    throw unusable(context, `has the server ${server ?? ''}, which is not https; ${advice}`);
  }
  const unsupported = Object.entries({
    'insecure-skip-tls-verify': skipTLSVerify,
    'proxy-url': proxyUrl,
    username,
    as: impersonateUser,
  }).find(([, value]) => Boolean(value));
  if (unsupported) throw unusable(context, `has ${unsupported[0]}, which this function does not support`);
}

async function orUnusable<T>(context: string, what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw unusable(context, `${what}; the log has the cause`, error);
  }
}

function unusable(context: string, what: string, cause?: unknown): FailoverError {
  return new FailoverError(
    'upstream_failed',
    `the kubeconfig's context ${context} ${what} (KUBECONFIG_CONTEXT)`,
    {
      cause,
    },
  );
}

import { ClusterManagerClient } from '@google-cloud/container/build/src/v1/cluster_manager_client.js';
import type { Config } from '../config.ts';
import { getGoogleAuth, toGoogleOptions } from './google.ts';

const clients = new WeakMap<Config, ClusterManagerClient>();

/** Returns the one client of the Container API for a configuration. It is created at its first use. */
export function getContainerClient(config: Config): ClusterManagerClient {
  const known = clients.get(config);
  if (known) return known;
  const auth = getGoogleAuth(config);
  const client = new ClusterManagerClient({ auth, ...toGoogleOptions(config.containerEndpoint) });
  clients.set(config, client);
  return client;
}

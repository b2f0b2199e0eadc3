import type { ClusterDescription } from './container-api.ts';
import { gkeVersion } from './discovery.ts';

export interface ClusterSpec {
  /** `projects/P/locations/L/clusters/C`. */
  name: string;
  status?: string;
  isAutopilot?: boolean;
  /** Whether the DNS endpoint accepts connections from outside. If not, it has a name but refuses them (403). */
  allowsExternalDns?: boolean;
  /** Nobody has container.clusters.connect, so the DNS endpoint's front end refuses (403). */
  deniesConnect?: boolean;
  /** IP endpoints can be switched off altogether. */
  hasIpEndpoints?: boolean;
  /** Only the private one is reachable. */
  isPrivate?: boolean;
}

/** Where the cluster is served; a server sets its own addresses. */
export interface ClusterEndpoints {
  ip: string;
  dns: string;
  /** PEM of the CA that signed the IP endpoint's certificate. */
  ca: string;
}

/** What the Container API returns about a cluster. */
export interface DescribedCluster {
  name: string;
  shortName: string;
  location: string;
  spec: ClusterSpec;
  endpoints: ClusterEndpoints;
  describePools(): ClusterDescription[];
}

/** Describes a cluster as the Container API does: its present state and its endpoints. */
export function describeCluster(cluster: DescribedCluster, nodeCount: number): ClusterDescription {
  const { endpoints, spec, location } = cluster;
  const hasIp = spec.hasIpEndpoints ?? true;
  const ip = spec.isPrivate ? { privateEndpoint: endpoints.ip } : { publicEndpoint: endpoints.ip };
  return {
    name: cluster.shortName,
    location,
    zone: location,
    status: spec.status ?? 'RUNNING',
    endpoint: hasIp ? endpoints.ip : endpoints.dns,
    masterAuth: { clusterCaCertificate: Buffer.from(endpoints.ca).toString('base64') },
    controlPlaneEndpointsConfig: {
      dnsEndpointConfig: {
        // Set always: whether it may be used is in allowExternalTraffic.
        endpoint: endpoints.dns,
        ...(spec.allowsExternalDns && { allowExternalTraffic: true }),
      },
      ipEndpointsConfig: {
        enabled: hasIp,
        ...(hasIp && { enablePublicEndpoint: !spec.isPrivate, ...ip }),
      },
    },
    privateClusterConfig: hasIp ? { ...ip, ...(spec.isPrivate && { enablePrivateEndpoint: true }) } : {},
    ...(spec.isAutopilot && { autopilot: { enabled: true } }),
    currentMasterVersion: gkeVersion,
    currentNodeVersion: gkeVersion,
    initialClusterVersion: gkeVersion,
    currentNodeCount: nodeCount,
    nodePools: cluster.describePools(),
    selfLink: `https://container.googleapis.com/v1/${cluster.name}`,
  };
}

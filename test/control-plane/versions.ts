/** Which Kubernetes and JobSet the control plane is built of, and from which Go modules. */
import { join } from 'node:path';

/** A Go module, and what is built of it. */
export interface Part {
  directory: string;
  packages: string[];
  /** Of Kubernetes: what `/version` says. */
  kubernetesVersion: string;
}

export interface Versions {
  parts: Part[];
  /** What the API server is. */
  kubernetes: string;
  /** The module that has JobSet's manifests. */
  jobSetDirectory: string;
}

/** The module of this folder has all six programs: these versions of Kubernetes and JobSet, etcd and KWOK. */
const own = { KUBERNETES: '1.36', JOBSET: '0.12' };

/** The others, each a module in `versions/`. */
const others = {
  KUBERNETES: { '1.33': 'v1.33.13', '1.37': 'v1.37.2' },
  JOBSET: { '0.8': 'v0.8.2' },
};

export const kubernetesVersion = 'v1.36.3';

/** Kueue, with the libraries that it asks for. Only `npm run test:kueue` builds it. */
export const kueueModule: Part = {
  directory: join(import.meta.dirname, 'versions/kueue-0.17'),
  packages: ['tool'],
  kubernetesVersion,
};

/** The pairs that `npm run test:versions` tests. `npm run test:cluster` tests the module of this folder. */
export const testedPairs = [
  { KUBERNETES: '1.33', JOBSET: '0.8' },
  { KUBERNETES: '1.37', JOBSET: '0.12' },
];

/**
 * Says what to build, by the variables KUBERNETES and JOBSET. Kubernetes and JobSet have modules of their own, because JobSet is built
 * with the libraries that it asks for, not with those of the Kubernetes that it runs on.
 * @throws for a version that there is no module of
 */
export function readVersions(
  environment: Record<string, string | undefined>,
  directory: string = import.meta.dirname,
): Versions {
  const kubernetes = choose('KUBERNETES', environment);
  const jobSet = choose('JOBSET', environment);
  if (kubernetes === undefined && jobSet === undefined) {
    const part = { directory, packages: ['tool'], kubernetesVersion };
    return { parts: [part], kubernetes: kubernetesVersion, jobSetDirectory: directory };
  }
  const toDirectory = (name: string): string => join(directory, 'versions', name);
  const jobSetDirectory = jobSet === undefined ? directory : toDirectory(`jobset-${jobSet.name}`);
  const ofKubernetes = ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler'];
  const kept = [
    'go.etcd.io/etcd/server/v3',
    'sigs.k8s.io/kwok/cmd/kwok',
    ...(jobSet === undefined ? ['sigs.k8s.io/jobset'] : []),
    ...(kubernetes === undefined ? ofKubernetes.map((name) => `k8s.io/kubernetes/cmd/${name}`) : []),
  ];
  return {
    parts: [
      { directory, packages: kept, kubernetesVersion },
      ...(kubernetes === undefined
        ? []
        : [
            {
              directory: toDirectory(`kubernetes-${kubernetes.name}`),
              packages: ['tool'],
              kubernetesVersion: kubernetes.version,
            },
          ]),
      ...(jobSet === undefined
        ? []
        : [{ directory: jobSetDirectory, packages: ['tool'], kubernetesVersion }]),
    ],
    kubernetes: kubernetes?.version ?? kubernetesVersion,
    jobSetDirectory,
  };
}

/** @returns undefined for what the module of this folder has */
function choose(
  variable: keyof typeof others,
  environment: Record<string, string | undefined>,
): { name: string; version: string } | undefined {
  const name = environment[variable] || own[variable];
  if (name === own[variable]) return undefined;
  const known: Record<string, string> = others[variable];
  const version = known[name];
  if (version !== undefined) return { name, version };
  const names = [...Object.keys(known), own[variable]].sort((a, b) =>
    a.localeCompare(b, 'en', { numeric: true }),
  );
  throw new Error(`${variable}=${name} cannot be built: there are ${names.join(', ')}`);
}

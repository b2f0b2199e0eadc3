import type { KubernetesClient } from './kubernetes-client.ts';

/** A Kubernetes control plane to test against: started here, or external. */
export interface ControlPlane {
  url: string;
  /** PEM. */
  ca: string;
  /** The administrator's. It is gone after `stop`. */
  kubeconfigPath: string;
  /** Sends requests as the administrator. */
  admin: KubernetesClient;
  /**
   * A bearer token for any user: this is how a test becomes the function's service account.
   * @throws on a cluster that was given, where nobody can stand for anybody; `can.beAnyone` says so beforehand
   */
  token(user: string, groups?: string[]): string;
  /** What this control plane can do. An external one may lack something, and `skips` says what. */
  can: Capabilities;
  skips: string[];
  /** Kills a program with SIGKILL. It is started anew a second later. Undefined on an external cluster. */
  crash?(program: CrashableProgram): Promise<void>;
  stop(): Promise<void>;
}

export type CrashableProgram = 'etcd' | 'kube-apiserver' | 'jobset';

export interface Capabilities {
  /** Tokens for any user. */
  beAnyone: boolean;
  /** Nodes that come up by themselves, pods that run on them, machines that die, and JobSets that really restart. */
  runJobSets: boolean;
}

import type { Capabilities } from './capabilities.ts';
import type { KubernetesClient } from './kubernetes-client.ts';
import type { World } from './world.ts';

/** Anything that claims to be Kubernetes, so that the conformance suite runs against it. */
export interface ConformanceTarget {
  url: string;
  ca: string;
  /** The administrator. */
  client: KubernetesClient;
  /** Builders whose work can be removed together. */
  createWorld(): World;
  can: Capabilities;
  /** A bearer token of a user without any right; only if `can.beAnyone`. */
  strangersToken?: { user: string; token: string };
  /** Moves the clock and runs the controllers, if they do not run by themselves. */
  advance?: () => void;
  stop(): Promise<void>;
}

/** The target, and the nodes of a pool `conformance` that is there all the time. */
export interface Stage extends ConformanceTarget {
  world: World;
  nodes: string[];
}

import { createSystemClock } from './clock.ts';
import type { Clock } from './clock.ts';
import { createConnect } from './gke/cluster.ts';
import type { Connect } from './gke/cluster.ts';
import { createDeleteInstance, createLoadSendDeletion } from './gke/compute.ts';
import type { DeleteInstance } from './gke/compute.ts';
import type { Config } from './config.ts';

/** Everything outside that the pipeline uses. */
export interface Services {
  config: Config;
  clock: Clock;
  connect: Connect;
  /** Loads what a repair needs, which takes a while, before the action holds a lock. */
  prepareRepair: () => Promise<unknown>;
  deleteInstance: DeleteInstance;
}

/** Makes the services of one instance of the function; the Google Cloud clients are made when they are first used. */
export function createServices(config: Config): Services {
  const clock = createSystemClock();
  const load = createLoadSendDeletion(config);
  return {
    config,
    clock,
    connect: createConnect(config, clock),
    prepareRepair: load,
    deleteInstance: createDeleteInstance(clock, load),
  };
}

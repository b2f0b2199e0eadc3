import { createSystemClock } from './clock.ts';
import type { Clock } from './clock.ts';
import { createConnect } from './gke/cluster.ts';
import type { Connect } from './gke/cluster.ts';
import { createDeleteInstance, createLoadCompute, createReadInstance } from './gke/compute.ts';
import type { DeleteInstance, ReadInstance } from './gke/compute.ts';
import { createGkeWorkClient, createNoGkeWork, createReadGkeWork } from './gke/gke-work.ts';
import type { ReadGkeWork } from './gke/gke-work.ts';
import type { Config } from './config.ts';

/** Everything outside the process that the pipeline uses, and the settings. */
export interface Services {
  config: Config;
  clock: Clock;
  connect: Connect;
  /** Loads the Compute client, which a repair needs. Loading is slow, so it happens before the action holds a lock. */
  prepareRepair: () => Promise<unknown>;
  deleteInstance: DeleteInstance;
  readInstance: ReadInstance;
  readGkeWork: ReadGkeWork;
}

/** Creates the services of one instance of the function. The Google Cloud clients are created at their first use. */
export function createServices(config: Config): Services {
  const clock = createSystemClock();
  const load = createLoadCompute(config);
  return {
    config,
    clock,
    connect: createConnect(config, clock),
    prepareRepair: load,
    deleteInstance: createDeleteInstance(clock, load),
    readInstance: createReadInstance(clock, load),
    readGkeWork:
      config.kubeconfigContext === undefined
        ? createReadGkeWork(clock, () => createGkeWorkClient(config))
        : createNoGkeWork(),
  };
}

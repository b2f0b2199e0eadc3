import type { EmulatedCluster } from '../emulator/cluster.ts';
import type { Fleet } from '../emulator/fleet.ts';
import type { GkeWork } from '../emulator/gke-work.ts';

/** What the promises are held against: the objects of a cluster as they are at that moment. */
export type ClusterView = Pick<EmulatedCluster, 'nodes' | 'pods' | 'jobs' | 'jobsets' | 'leases' | 'get'> & {
  work: Pick<GkeWork, 'operations'>;
};

/** The machines, and which of them were deleted through the API. */
export interface MachinesView {
  fleet: Pick<Fleet, 'list' | 'deletions'>;
}

/** The types of actions, in the order in which messages list them. */
export const actionTypes = [
  'cordon_nodepool',
  'cordon_nodepool_and_restart_jobset',
  'cordon_and_repair_nodepool',
  'repair_nodepool',
  'uncordon_nodepool',
] as const;

export type ActionType = (typeof actionTypes)[number];

/** The types that may follow a restart that did not help. */
export const followUpTypes = [
  'cordon_and_repair_nodepool',
  'repair_nodepool',
] as const satisfies readonly ActionType[];

export type FollowUpType = (typeof followUpTypes)[number];

/** How a machine is repaired, in the order in which messages list the ways. All but `delete`, the default, are labels. */
export const repairWays = ['delete', 'reboot', 'maintenance', 'report_faulty_host'] as const;

/** The ways in which GKE repairs a machine because a label of its node asks for it. */
export const labelWays = [
  'reboot',
  'maintenance',
  'report_faulty_host',
] as const satisfies readonly (typeof repairWays)[number][];

export type LabelWay = (typeof labelWays)[number];

/** What may be wrong with a host that is reported. */
export const faults = ['performance', 'silent_data_corruption', 'xid', 'unspecified'] as const;

export type Fault = (typeof faults)[number];

/** What is done where a run has no spare capacity to move to, in the order in which messages list it. `restart` is the default. */
export const spareWishes = ['restart', 'refuse', 'repair'] as const;

/** The wishes that differ from the default. */
export const recordedWishes = ['refuse', 'repair'] as const satisfies readonly (typeof spareWishes)[number][];

export type WhenNoSpare = (typeof recordedWishes)[number];

/** What an action does to the pool and to what runs on it. */
export interface Effects {
  cordon: boolean;
  restart: boolean;
  repair: boolean;
  uncordon: boolean;
}

const none: Effects = { cordon: false, restart: false, repair: false, uncordon: false };

/** The effects of each type. A type without a row does not compile, because it would be answered 200 and do nothing. */
export const effectsOf: Record<ActionType, Effects> = {
  cordon_nodepool: { ...none, cordon: true },
  cordon_nodepool_and_restart_jobset: { ...none, cordon: true, restart: true },
  cordon_and_repair_nodepool: { ...none, cordon: true, repair: true },
  repair_nodepool: { ...none, repair: true },
  uncordon_nodepool: { ...none, uncordon: true },
};

export const actionTypes = [
  'cordon_nodepool',
  'cordon_nodepool_and_restart_jobset',
  'cordon_and_repair_nodepool',
  'repair_nodepool',
  'uncordon_nodepool',
] as const;

export type ActionType = (typeof actionTypes)[number];

/** Says which effects a type asks for. */
export function effectsOf(type: ActionType): {
  cordon: boolean;
  restart: boolean;
  repair: boolean;
  uncordon: boolean;
} {
  return {
    cordon: type.startsWith('cordon_'),
    restart: type === 'cordon_nodepool_and_restart_jobset',
    repair: type === 'cordon_and_repair_nodepool' || type === 'repair_nodepool',
    uncordon: type === 'uncordon_nodepool',
  };
}

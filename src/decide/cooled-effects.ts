import type { Action } from '../request/action.ts';
import type { Effect } from '../state/cooldown.ts';

/** The effects that have a cooldown. */
export function cooledEffects(action: Action): Effect[] {
  const { restart, repair } = action.effects;
  return [
    ...(restart ? [`restart ${action.namespace}/${action.jobSetName}` as const] : []),
    ...(repair ? (['repair'] as const) : []),
  ];
}

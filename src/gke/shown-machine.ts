import { repairAnnotation } from '../names.ts';
import { instanceIdAnnotation } from './nodes.ts';
import type { NodeRef } from './nodes.ts';

/** What a node says of its machine. */
export interface ShownMachine {
  instanceId: string | undefined;
  /** The action that last asked for a repair by a label of the node. */
  repairedBy: string | undefined;
}

/** Reads what a node says of its machine. */
export function toShownMachine({ annotations }: Pick<NodeRef, 'annotations'>): ShownMachine {
  return { instanceId: annotations[instanceIdAnnotation], repairedBy: annotations[repairAnnotation] };
}

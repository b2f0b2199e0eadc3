import type { SentCall } from './function-instance.ts';

export const nodePath = /^\/api\/v1\/nodes\/([^/]+)$/;

/** A machine is asked to be deleted; to read one is no deed. */
export function isMachineDeletion({ api, method }: SentCall): boolean {
  return api === 'compute' && method === 'DELETE';
}

/** A node is cordoned. */
export function isCordon(call: SentCall): boolean {
  return isNodePatch(call) && isUnschedulable(call);
}

/** A node's cordon is given back. */
export function isRelease(call: SentCall): boolean {
  return isNodePatch(call) && !isUnschedulable(call);
}

function isNodePatch({ method, path }: SentCall): boolean {
  return method === 'PATCH' && nodePath.test(path);
}

function isUnschedulable({ body }: SentCall): boolean {
  const { spec } = (body ?? {}) as { spec?: { unschedulable?: boolean } };
  return spec?.unschedulable === true;
}

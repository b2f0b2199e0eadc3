import type { V1ObjectMeta } from '@kubernetes/client-node';
import { toMs } from '../clock.ts';

/** The labels that ask GKE for something of a node's machine, and are true or absent. */
export const askingLabels = [
  { label: 'cloud.google.com/perform-reboot', way: 'reboot' },
  { label: 'cloud.google.com/perform-maintenance', way: 'maintenance' },
] as const;

/** Reads when the labels were set that ask for a reboot or a maintenance: their managers did not write later. */
export function readAskedAt({
  labels = {},
  managedFields = [],
}: V1ObjectMeta): Record<string, number> | undefined {
  const asking = askingLabels.map(({ label }) => label).filter((label) => labels[label] !== undefined);
  if (asking.length === 0) return undefined;
  return Object.fromEntries(
    asking.flatMap((label) => {
      const setAt = readSetAt({ managedFields }, label);
      return setAt === undefined ? [] : [[label, setAt]];
    }),
  );
}

/** Reads when a label was set, in ms since the epoch: its managers did not write later. Undefined where they do not say. */
export function readSetAt(
  { managedFields = [] }: Pick<V1ObjectMeta, 'managedFields'>,
  label: string,
): number | undefined {
  const owners = managedFields.filter(({ fieldsV1 }) => ownsLabel(fieldsV1, label));
  const times = owners.map(({ time }) => toMs(time));
  const known = times.filter((time) => time !== undefined);
  return known.length > 0 && known.length === times.length ? Math.max(...known) : undefined;
}

function ownsLabel(fields: unknown, label: string): boolean {
  const { 'f:metadata': metadata } = (fields ?? {}) as { 'f:metadata'?: { 'f:labels'?: object } };
  return Object.hasOwn(metadata?.['f:labels'] ?? {}, `f:${label}`);
}

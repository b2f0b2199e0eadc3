import * as v from 'valibot';
import { FailoverError } from '../errors.ts';

/**
 * How far the deletion of a mark has come. A mark is written before its deletion, so by itself it is no deed: the deletion
 * may never have been sent. It is `accepted` once the deletion was answered with success.
 */
export const deedSchema = v.picklist(['begun', 'accepted']);

/** What every mark says of its deletion. */
export interface Deed {
  /** The id of the action whose mark it is. */
  action: string;
  /** When it was about to send the deletion, by the API server's clock. */
  at: string;
  /** Absent in a mark that version 0.1.0 wrote, which counts as accepted. */
  state?: v.InferOutput<typeof deedSchema> | undefined;
}

/** Says whether the deletion of a mark was accepted. */
export function isAccepted({ state }: Deed): boolean {
  return state !== 'begun';
}

/**
 * Refuses an action because another one has begun the same, and nobody knows what came of it.
 *
 * @param what was begun
 * @param leftMs is how long this holds
 */
export function refuseBegun(what: string, { action, at }: Deed, leftMs: number): FailoverError {
  const seconds = Math.max(1, Math.ceil(leftMs / 1000));
  return new FailoverError(
    'action_in_progress',
    `${what} was begun at ${at} by action ${action}, and it is not known whether its deletion was accepted; ` +
      `send ${action} again to finish it, or this action in ${seconds} s`,
    { headers: { 'Retry-After': String(seconds) } },
  );
}

import { toMs, toWholeSeconds } from '../clock.ts';
import { FailoverError } from '../errors.ts';
import { failoverNamespace, prefix } from '../names.ts';
import { nearestName } from '../nearest-name.ts';

/** A person keeps this function away from one pool until a time: `autometric-failover/veto="<time> <reason>"` on its Lease. */
export const vetoKey = `${prefix}veto`;

type Annotations = Readonly<Record<string, string>>;

/** A veto that holds now. */
export interface Veto {
  why: string;
  /** In ms since the epoch; undefined where it cannot be read, so that it holds until it is put right. */
  until: number | undefined;
  /** The annotation as it is written. */
  key: string;
}

/**
 * Reads the veto of a pool. One that is misspelt or has no time holds: it must not let actions through.
 *
 * @param annotations of the pool's Lease
 * @returns undefined if there is none, or it has expired
 */
export function readVeto(annotations: Annotations, serverNow: number): Veto | undefined {
  const text = annotations[vetoKey];
  if (text === undefined) {
    const key = Object.keys(annotations).find((each) => isNearly(each));
    return key === undefined
      ? undefined
      : { why: `unknown annotation ${key}, did you mean ${vetoKey}?`, until: undefined, key };
  }
  const [, time = '', why = ''] = /^\s*(\S+)\s*([^]*)$/.exec(text) ?? [];
  const until = /^\d{4}-\d\d-\d\dT/.test(time) ? toMs(time) : undefined;
  if (until === undefined || Number.isNaN(until) || why.trim() === '') {
    const shown = text.replaceAll(/\s+/g, ' ').slice(0, 64);
    return {
      why: `its veto "${shown}" is not a time and a reason, such as "2026-11-28T04:00:00Z INC-42"`,
      until: undefined,
      key: vetoKey,
    };
  }
  return until > serverNow ? { why: why.trim().replaceAll(/\s+/g, ' '), until, key: vetoKey } : undefined;
}

/** It would be a veto if it were spelt right. */
function isNearly(key: string): boolean {
  const name = key.split('/').at(-1) ?? '';
  return name.toLowerCase().includes('veto') || nearestName(name, ['veto']) !== undefined;
}

/**
 * Refuses while a person keeps this function away from a pool.
 *
 * @throws {FailoverError} `paused`
 */
export function refuseVetoed(annotations: Annotations, nodePool: string, serverNow: number): void {
  const veto = readVeto(annotations, serverNow);
  if (!veto) return;
  const until = veto.until === undefined ? '' : ` until ${toWholeSeconds(veto.until)}`;
  throw new FailoverError(
    'paused',
    `somebody keeps failover away from node pool ${nodePool}${until}: ${veto.why}; to lift it: ` +
      `kubectl annotate lease pool-${nodePool} -n ${failoverNamespace} ${veto.key}-`,
  );
}

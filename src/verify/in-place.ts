import type { Judgement } from './judgement.ts';

/**
 * Judges a run that restarts on the pool that is repaired: first the pool must be whole, and then the run must be back. The worse
 * of both counts.
 */
export function judgeInPlace(machine: Judgement, run: Judgement): Judgement {
  if (machine.verdict === undefined) {
    const heldUpOn = run.verdict === undefined ? (run.heldUpOn ?? []) : [];
    return { ...machine, heldUpOn, onTimeOut: machine.onTimeOut ?? 'not_repaired' };
  }
  if (machine.verdict !== 'repaired') return machine;
  const { at, isSameHost = false } = machine;
  const why = [run.why, machine.why].filter((text) => text !== undefined).join('; ');
  const both: Judgement = { ...run, ...(why === '' ? {} : { why }), repaired: { at, isSameHost } };
  return isSameHost && both.verdict === 'recovered' ? { ...both, isSameHost } : both;
}

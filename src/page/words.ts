// What happened, in words.
import { toText } from './html.ts';
import type { ActionView } from '../status/action-view.ts';
import type { RecordedStep } from '../step.ts';
import { describeVerdict, hasHelped } from '../verdict.ts';

/** How something looks: its colour and its mark, which says the same without colour. */
export type Tone = 'good' | 'bad' | 'busy' | 'quiet';

export const marks: Record<Tone, string> = { good: '✓', bad: '✕', busy: '…', quiet: '–' };

/** What became of an action. */
export interface Outcome {
  tone: Tone;
  text: string;
}

/** Says what became of an action, in a few words. */
export function outcomeOf({ state, verdict, error, steps, type, acceptance }: ActionView): Outcome {
  if (state === 'refused') return { tone: 'quiet', text: `refused: ${toWords(error?.code ?? '')}` };
  if (state === 'broken') return { tone: 'bad', text: 'its record cannot be read' };
  if (verdict) {
    const { why: _, ...short } = verdict;
    if (verdict.verdict === 'rejected') return { tone: 'quiet', text: 'rejected' };
    if (verdict.verdict === 'expired') return { tone: 'bad', text: 'nobody approved it in time' };
    return { tone: hasHelped(verdict) ? 'good' : 'bad', text: toWords(describeVerdict(short)) };
  }
  if (state === 'stopped') return { tone: 'bad', text: `stopped: ${toWords(error?.code ?? '')}` };
  if (state === 'settled') {
    return type === 'uncordon_nodepool' || (steps ?? []).some(({ step }) => step === 'cordon')
      ? { tone: 'good', text: 'done' }
      : { tone: 'quiet', text: 'done, nothing was needed' };
  }
  if (state === 'done' && acceptance && acceptance.passed_at === undefined) {
    return { tone: 'busy', text: 'testing the repaired pool' };
  }
  if (state === 'done') return { tone: 'busy', text: waitingFor(steps ?? []) };
  if (state === 'awaiting_approval') return { tone: 'busy', text: 'waits for approval' };
  return { tone: 'busy', text: 'being carried out' };
}

function waitingFor(steps: RecordedStep[]): string {
  const isRepair = steps.some(({ step, outcome }) => step === 'repair' && outcome !== 'already_gone');
  const isRestart = steps.some(({ step, outcome }) => step === 'restart' && outcome === 'restarted');
  if (isRestart) return 'waiting for the run to be back';
  return isRepair ? 'waiting for the machine to be back' : 'waiting for its verdict';
}

/** By the outcome of a repair that a label asks for, what GKE was asked to do. */
const askedOf: Record<string, string> = {
  reboot_requested: 'reboot the machine of',
  maintenance_requested: 'maintain the host of',
  report_requested: 'report the host of',
};

/** What one step did, as a sentence without its full stop. */
export function describeStep(step: RecordedStep): string {
  const { target, outcome, nodes, cordoned, already_cordoned: already, uncordoned, kept } = step;
  const count = (number: unknown, noun = 'node') => `${toText(number)} ${noun}${number === 1 ? '' : 's'}`;
  const more = (number: unknown, what: string) => (Number(number) > 0 ? `, ${toText(number)} ${what}` : '');
  switch (step.step) {
    case 'cordon':
      return `cordoned ${target}: ${toText(cordoned)} of ${count(nodes)}${more(already, 'were already')}`;
    case 'uncordon':
      return `uncordoned ${target}: ${toText(uncordoned)} of ${count(nodes)}${more(kept, 'stay cordoned')}`;
    case 'restart':
      return outcome === 'restarted'
        ? `restarted ${target}`
        : `did not restart ${target}: ${toWords(toText(outcome))}`;
    case 'repair': {
      const asked = askedOf[toText(outcome)];
      if (asked !== undefined) return `asked GKE to ${asked} ${target}`;
      if (outcome !== 'deletion_accepted') {
        return `did not delete the machine of ${target}: ${toWords(toText(outcome))}`;
      }
      const replaces = toText(step['replaces']);
      return `deleted the machine of ${target}${replaces && `, which replaces ${replaces}`}`;
    }
    case 'notice':
      return toText(step['notice']);
    default:
      return `${step.step} ${target}: ${toWords(toText(outcome))}`;
  }
}

/** What an action is, for people; a type that this version does not know, as it is. */
export function nameAction({
  type,
  node_pool: pool = '',
  jobset = '',
}: Pick<ActionView, 'type' | 'node_pool' | 'jobset'>): string {
  const where = pool || 'a pool';
  const names: Record<string, string> = {
    cordon_nodepool: `Cordon ${where}`,
    cordon_nodepool_and_restart_jobset: `Cordon ${where} and restart ${jobset || 'its JobSet'}`,
    cordon_and_repair_nodepool: `Cordon and repair ${where}`,
    repair_nodepool: `Repair ${where}`,
    uncordon_nodepool: `Uncordon ${where}`,
  };
  return (Object.hasOwn(names, type) && names[type]) || [type, pool, jobset].filter(Boolean).join(' ');
}

/** A value of the API without its underscores. */
export function toWords(value: string): string {
  return value.replaceAll('_', ' ');
}

/** The last part of a cluster's full name. */
export function clusterName(fullName: string): string {
  return fullName.split('/').at(-1) ?? fullName;
}

/** How long, in its two largest units. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} days`;
}

/** A time of day in UTC, with its date if that is not today's. */
export function clockTime(at: string, now: number): string {
  const time = Date.parse(at);
  if (Number.isNaN(time)) return at;
  const text = new Date(time).toISOString();
  const date = text.slice(0, 10) === new Date(now).toISOString().slice(0, 10) ? '' : `${text.slice(5, 10)} `;
  return `${date}${text.slice(11, 19)}`;
}

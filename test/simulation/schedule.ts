/** What a schedule decides at one step, instead of letting the one whose turn it is go on. */
export type DecisionKind =
  /** The other one goes on. This one's next call arrives only when it is its turn again. */
  | 'switch'
  /** The other one goes on, and 75 s pass: a lock expires. What this one has sent arrives before. */
  | 'freeze'
  /** The instance dies. What it would send next is never sent. */
  | 'die'
  /** The call is carried out, and its answer is lost. */
  | 'lose';

export interface Decision {
  /** Counts every turn and every other decision before. */
  step: number;
  kind: DecisionKind;
}

/** An order of the turns of two actors: one begins, and goes on unless something else is decided. */
export interface Schedule {
  first: 0 | 1;
  decisions: Decision[];
}

const kinds: DecisionKind[] = ['switch', 'freeze', 'die', 'lose'];

/** Writes a schedule in one line, to run it again: `1 12:switch 31:die`. */
export function toLine({ first, decisions }: Schedule): string {
  return [first, ...decisions.map(({ step, kind }) => `${step}:${kind}`)].join(' ');
}

/** @throws {Error} where it is no line of {@link toLine} */
export function parseLine(line: string): Schedule {
  const [first, ...rest] = line.trim().split(/\s+/);
  const decisions = rest.map((part) => {
    const [step = '', kind] = part.split(':');
    const known = kinds.find((each) => each === kind);
    if (!/^\d+$/.test(step) || !known) throw new Error(`not a decision: ${part}`);
    return { step: Number(step), kind: known };
  });
  if (first !== '0' && first !== '1') throw new Error(`not a schedule: ${line}`);
  return { first: first === '0' ? 0 : 1, decisions };
}

import { breaks, kinds } from './breaks.ts';
import type { Break, Kind } from './breaks.ts';

/** The table of promises and breaks, as test/README.md has it. */
export function toTable(): string {
  const rows = breaks.map(
    (each) =>
      `| \`${each.promise}\` | ${each.what} | ${kinds.map((kind) => toCell(each, kind)).join(' | ')} |`,
  );
  return ['| promise | break | random | schedules | scenarios |', '|---|---|---|---|---|', ...rows].join(
    '\n',
  );
}

function toCell({ random, schedules, scenarios }: Break, kind: Kind): string {
  if (kind === 'random') return random ? `\`${random.situation}\`` : 'no';
  if (kind === 'schedules') return schedules ? `*${schedules.situation}*` : 'no';
  if (!scenarios) return 'no';
  return `\`${scenarios.file}\`${scenarios.by === 'promise' ? '' : ', by its own assertion'}`;
}

import type { Result } from './result.ts';

/** A bar of the picture: a measurement, and where it has one, a mark for what it is compared with. */
interface Bar {
  label: string;
  ms: number;
  note: string;
  markMs?: number;
}

interface Section {
  title: string;
  bars: Bar[];
}

/** Draws the picture for the README, as an SVG that follows the reader's light or dark theme. */
export function drawChart(results: Result[]): string {
  const sections = toSections(results).filter(({ bars }) => bars.length > 0);
  let y = 8;
  const parts = sections.map((section) => {
    const drawn = drawSection(section, y);
    y += titleHeight + section.bars.length * barHeight + gap;
    return drawn;
  });
  const title = sections
    .flatMap(({ bars }) =>
      bars.map(({ label, ms, note }) => `${label}: ${seconds(ms)}${note ? `, ${note}` : ''}`),
    )
    .join('; ');
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${y}" width="${width}" height="${y}" role="img">`,
    `<title>${escape(title)}</title>`,
    style,
    ...parts,
    '</svg>\n',
  ].join('\n');
}

const width = 720;
const left = 232;
const right = 150;
const titleHeight = 26;
const barHeight = 26;
const gap = 14;

const style = `<style>
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600 }
  .note { fill: #59636e }
  .bar { fill: #2f6fdb }
  .base { fill: #afb8c1 }
  .mark { stroke: #cf222e; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .note { fill: #9198a1 }
    .bar { fill: #4493f8 }
    .base { fill: #656c76 }
    .mark { stroke: #f85149 }
  }
</style>`;

function toSections(results: Result[]): Section[] {
  const find = (name: string) => results.find((result) => result.name === name);
  const times = (ratio: number | null) => (ratio === null ? '' : `${ratio.toFixed(1)} ×`);
  const cold = find('cold-cordon');
  const repair = find('cold-repair');
  const sequential = find('cordon-2304-sequential');
  return [
    {
      title: 'From a cold start to the first answer',
      bars: [
        ...(cold?.reference ? [{ label: 'hello world', ms: cold.reference, note: '' }] : []),
        ...(cold ? [{ label: 'cordon', ms: cold.value, note: times(cold.ratio) }] : []),
        ...(repair ? [{ label: 'cordon and repair', ms: repair.value, note: times(repair.ratio) }] : []),
      ],
    },
    {
      title: 'Cordon of a slice, each API call taking 20 ms; the mark is the patches alone, 64 at a time',
      bars: [128, 1000, 2304].flatMap((nodes) => {
        const result = find(`cordon-${nodes}-20ms`);
        if (!result) return [];
        const label = `${nodes.toLocaleString('en')} nodes`;
        return [{ label, ms: result.value, note: '', markMs: result.reference ?? 0 }];
      }),
    },
    {
      title: 'The same 2,304 nodes, one patch at a time',
      bars: sequential?.reference
        ? [
            { label: 'one at a time', ms: sequential.reference, note: '' },
            { label: '64 at a time', ms: sequential.value, note: `${times(sequential.ratio)} faster` },
          ]
        : [],
    },
  ];
}

function drawSection({ title, bars }: Section, top: number): string {
  const longest = Math.max(...bars.map(({ ms }) => ms));
  const scale = (ms: number) => Math.max(1, (ms / longest) * (width - left - right));
  const rows = bars.map(({ label, ms, note, markMs }, index) => {
    const y = top + titleHeight + index * barHeight;
    const isBase = index === 0 && markMs === undefined;
    const end = left + scale(ms);
    const mark = markMs === undefined ? 0 : left + scale(markMs);
    return [
      `<text x="${left - 12}" y="${y + 16}" text-anchor="end">${escape(label)}</text>`,
      `<rect class="${isBase ? 'base' : 'bar'}" x="${left}" y="${y + 3}" width="${scale(ms).toFixed(1)}" height="18" rx="3"/>`,
      mark
        ? `<line class="mark" x1="${mark.toFixed(1)}" x2="${mark.toFixed(1)}" y1="${y}" y2="${y + 24}"/>`
        : '',
      `<text x="${(end + 8).toFixed(1)}" y="${y + 16}">${seconds(ms)}`,
      note ? ` <tspan class="note">${escape(note)}</tspan>` : '',
      '</text>',
    ].join('');
  });
  return [`<text class="title" x="0" y="${top + 14}">${escape(title)}</text>`, ...rows].join('\n');
}

function seconds(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}

import { drawPlot, plotStyle } from './plot.ts';
import type { Plot } from './plot.ts';
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
  let y = headHeight;
  const parts = sections.map((section) => {
    const drawn = drawSection(section, y);
    y += titleHeight + section.bars.length * barHeight + gap;
    return drawn;
  });
  const plots = toPlots(results);
  if (plots.length > 0) {
    parts.push(drawPlots(plots, y));
    y += titleHeight + plotHeight + gap;
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${y}" width="${width}" height="${y}" role="img" aria-labelledby="title desc">`,
    '<title id="title">How fast it is; lower is better</title>',
    `<desc id="desc">${escape([describe(sections), ...plots.map(describePlot)].join(' '))}</desc>`,
    style,
    drawHead(),
    ...parts,
    '</svg>\n',
  ].join('\n');
}

const width = 760;
const margin = 12;
const left = 200;
const right = 190;
const headHeight = 86;
const titleHeight = 36;
const barHeight = 32;
const gap = 22;
const plotHeight = 216;
const plotGap = 28;

const style = `<style>
  text { font: 18px system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #1f2328 }
  .title { font-weight: 600 }
  .note { fill: #59636e }
  .bar { fill: #2f6fdb }
  .base { fill: #afb8c1 }
  .mark { stroke: #cf222e; stroke-width: 3 }
  .halo { stroke: #fff; stroke-width: 7 }${plotStyle.light}
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .note { fill: #9198a1 }
    .bar { fill: #4493f8 }
    .base { fill: #656c76 }
    .mark { stroke: #f85149 }
    .halo { stroke: #0d1117 }${plotStyle.dark}
  }
</style>`;

/** The text of the picture for screen readers. */
function describe(sections: Section[]): string {
  const texts = sections.map(({ title, bars }) => {
    const values = bars.map(({ label, ms, note, markMs }) => {
      const bound = markMs === undefined ? '' : `a bare client ${toTime(markMs)}`;
      return [`${label} ${toTime(ms)}`, note, bound].filter(Boolean).join(', ');
    });
    return `${title}: ${values.join('; ')}.`;
  });
  return ['Groups of bars, each with its own scale.', ...texts].join(' ');
}

function toSections(results: Result[]): Section[] {
  const find = (name: string) => results.find((result) => result.name === name);
  const times = (ratio: number | null) =>
    ratio === null ? '' : `${ratio < 10 ? ratio.toFixed(2) : Math.round(ratio)} ×`;
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
      title: 'Cordon of a slice, 64 nodes at a time, 20 ms for each call',
      bars: [128, 1000, 2304].flatMap((nodes) => {
        const result = find(`cordon-${nodes}-20ms`);
        if (!result) return [];
        const label = `${nodes.toLocaleString('en')} nodes`;
        return [{ label, ms: result.value, note: '', markMs: result.reference ?? 0 }];
      }),
    },
    {
      title: '2,304 nodes again, one at a time and 64 at a time',
      bars: sequential?.reference
        ? [
            { label: 'one at a time', ms: sequential.reference, note: '' },
            { label: '64 at a time', ms: sequential.value, note: `${times(sequential.ratio)} faster` },
          ]
        : [],
    },
  ];
}

interface NamedPlot extends Plot {
  /** The largest size, and what was measured there, in words. */
  summary: string;
}

/** The rows of the group `growth`, as one curve for each thing that grows. */
function toPlots(results: Result[]): NamedPlot[] {
  const toCount = (count: number) => count.toLocaleString('en');
  return [
    { title: 'Time of a cordon', pattern: /^growth-cordon-(\d+)$/, xLabel: 'nodes', toY: toTime },
    {
      title: 'Most memory meanwhile',
      pattern: /^growth-cordon-(\d+)-rss$/,
      xLabel: 'nodes',
      toY: (mb: number) => `${Math.round(mb)} MB`,
    },
    { title: 'Time of a reconcile', pattern: /^growth-reconcile-(\d+)$/, xLabel: 'open', toY: toTime },
  ].flatMap(({ title, pattern, xLabel, toY }) => {
    const rows = results.flatMap((result) => {
      const [, size] = pattern.exec(result.name) ?? [];
      return size === undefined ? [] : [{ x: Number(size), y: result.value, straight: result.reference }];
    });
    const points = rows.map(({ x, y }) => ({ x, y })).sort((a, b) => a.x - b.x);
    const [first] = points;
    const last = points.at(-1);
    if (!first || !last) return [];
    const straight = rows.find(({ x }) => x === last.x)?.straight ?? undefined;
    const line = straight === undefined ? {} : { line: { from: first, to: { x: last.x, y: straight } } };
    const summary = `${toY(last.y)} at ${toCount(last.x)} ${xLabel}${straight === undefined ? '' : `, a straight line would be at ${toY(straight)}`}`;
    return [{ title, points, ...line, xLabel, toX: toCount, toY, summary }];
  });
}

function describePlot({ title, summary }: NamedPlot): string {
  return `${title}, a curve: ${summary}.`;
}

function drawPlots(plots: NamedPlot[], top: number): string {
  const each = (width - 2 * margin - plotGap * (plots.length - 1)) / plots.length;
  return [
    `<text class="title" x="${margin}" y="${top + 20}">How cost grows <tspan class="note">(dashed: a straight line)</tspan></text>`,
    ...plots.map((plot, index) =>
      drawPlot(plot, {
        left: Math.round(margin + index * (each + plotGap)),
        top: top + titleHeight,
        width: Math.round(each),
        height: plotHeight,
      }),
    ),
  ].join('\n');
}

/** What holds for all groups, and what the colours mean. */
function drawHead(): string {
  const y = 60;
  return [
    `<text class="note" x="${margin}" y="26">Lower is better. Each group has its own scale.</text>`,
    `<rect class="bar" x="${margin}" y="${y - 14}" width="18" height="16" rx="3"/><text x="${margin + 26}" y="${y}">the function</text>`,
    `<rect class="base" x="172" y="${y - 14}" width="18" height="16" rx="3"/><text x="198" y="${y}">for comparison</text>`,
    `${drawMark(358, y - 18, y + 5)}<text x="368" y="${y}">red line: a bare client, the patches alone</text>`,
  ].join('\n');
}

function drawSection({ title, bars }: Section, top: number): string {
  const longest = Math.max(...bars.map(({ ms }) => ms));
  const scale = (ms: number) => Math.max(1, (ms / longest) * (width - left - right));
  const rows = bars.map(({ label, ms, note, markMs }, index) => {
    const y = top + titleHeight + index * barHeight;
    const isBase = index === 0 && markMs === undefined;
    const end = left + scale(ms);
    return [
      `<text x="${left - 12}" y="${y + 20}" text-anchor="end">${escape(label)}</text>`,
      `<rect class="${isBase ? 'base' : 'bar'}" x="${left}" y="${y + 3}" width="${scale(ms).toFixed(1)}" height="22" rx="3"/>`,
      markMs === undefined ? '' : drawMark(left + scale(markMs), y, y + 28),
      `<text x="${(end + 8).toFixed(1)}" y="${y + 20}">${toTime(ms)}`,
      note ? ` <tspan class="note">${escape(note)}</tspan>` : '',
      '</text>',
    ].join('');
  });
  return [`<text class="title" x="${margin}" y="${top + 20}">${escape(title)}</text>`, ...rows].join('\n');
}

/** A line with a rim, because many people cannot see red on blue well. */
function drawMark(x: number, top: number, bottom: number): string {
  const ends = `x1="${x.toFixed(1)}" x2="${x.toFixed(1)}" y1="${top}" y2="${bottom}"`;
  return `<line class="halo" ${ends}/><line class="mark" ${ends}/>`;
}

/** As the README's table writes it: milliseconds below ten seconds, whole seconds from there on. */
function toTime(ms: number): string {
  return ms < 10_000 ? `${Math.round(ms).toLocaleString('en')} ms` : `${Math.round(ms / 1000)} s`;
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}

import { drawPlot, plotStyle } from './plot.ts';
import type { SoakResult } from './soak-judgement.ts';

const width = 760;
const height = 236;

/** Draws the memory of a soak, as an SVG that follows the reader's light or dark theme. */
export function drawSoak({ curve, minutes, sent, heapMb, rssMb }: SoakResult): string {
  const plots = (
    [
      ['Memory of the process', 'rssMb', rssMb],
      ['Heap after each collection of garbage', 'heapMb', heapMb],
    ] as const
  ).map(([title, key, { early, late }], index) =>
    drawPlot(
      {
        title,
        figures: `${early} MB, then ${late} MB`,
        points: curve.map((point) => ({ x: point.minute, y: point[key] })),
        xLabel: 'min',
        toX: (x) => x.toFixed(x < 10 ? 1 : 0),
        toY: (y) => `${y} MB`,
        hasDots: false,
      },
      { left: 12 + index * 380, top: 12, width: 356, height: height - 24 },
    ),
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="title desc">`,
    '<title id="title">Memory while one instance works for long</title>',
    `<desc id="desc">${sent} actions and alerts in ${minutes} minutes. Memory of the process: median ${rssMb.early} MB in the second fifth of the run and ${rssMb.late} MB in the last; heap: ${heapMb.early} MB and ${heapMb.late} MB.</desc>`,
    `<style>
  text { font: 18px system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #1f2328 }
  .title { font-weight: 600 }
  .note { fill: #59636e }${plotStyle.light}
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .note { fill: #9198a1 }${plotStyle.dark}
  }
</style>`,
    ...plots,
    '</svg>\n',
  ].join('\n');
}

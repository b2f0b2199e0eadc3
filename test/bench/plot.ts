/** A curve with its axes, for the pictures of the bench and of the soak. */
export interface Plot {
  title: string;
  /** In the order of x. */
  points: { x: number; y: number }[];
  /** A dashed line for comparison, from one of its ends to the other. */
  line?: { from: { x: number; y: number }; to: { x: number; y: number } };
  xLabel: string;
  toX: (x: number) => string;
  toY: (y: number) => string;
  /** What stands above the axes, instead of the last point. */
  figures?: string;
  /** True unless the points are too many. */
  hasDots?: boolean;
}

export interface Place {
  left: number;
  top: number;
  width: number;
  height: number;
}

/** Room for a title above the axes, and for the numbers below them. */
const above = 64;
const below = 44;

/** What the plots need of the picture's style sheet, in the light and in the dark theme. */
export const plotStyle = {
  light: `
  .small { font-size: 14px }
  .axis { stroke: #818b98; stroke-width: 1; fill: none }
  .curve { stroke: #2f6fdb; stroke-width: 2.5; fill: none }
  .dot { fill: #2f6fdb }
  .straight { stroke: #cf222e; stroke-width: 1.5; stroke-dasharray: 5 4; fill: none }`,
  dark: `
    .axis { stroke: #656c76 }
    .curve { stroke: #4493f8 }
    .dot { fill: #4493f8 }
    .straight { stroke: #f85149 }`,
};

/** Draws it with both axes from 0, so that a straight line is one. */
export function drawPlot(plot: Plot, { left, top, width, height }: Place): string {
  const { points, line, title, xLabel } = plot;
  const all = [...points, ...(line ? [line.from, line.to] : [])];
  const mostX = Math.max(...all.map(({ x }) => x));
  const mostY = Math.max(...all.map(({ y }) => y));
  const last = points.at(-1) ?? { x: 0, y: 0 };
  const bottom = top + height - below;
  const place = ({ x, y }: { x: number; y: number }) => {
    const across = left + (x / mostX) * (width - 8);
    return { x: across.toFixed(1), y: (bottom - (y / mostY) * (height - above - below)).toFixed(1) };
  };
  const at = (point: { x: number; y: number }) => `${place(point).x},${place(point).y}`;
  return [
    `<text class="small title" x="${left}" y="${top + 18}">${title}</text>`,
    `<text class="small" x="${left}" y="${top + 40}">${plot.figures ?? `${plot.toY(last.y)} <tspan class="note">at ${plot.toX(last.x)}</tspan>`}</text>`,
    `<path class="axis" d="M${left},${top + above - 8} V${bottom} H${left + width}"/>`,
    line ? `<path class="straight" d="M${at(line.from)} L${at(line.to)}"/>` : '',
    `<polyline class="curve" points="${points.map(at).join(' ')}"/>`,
    ...(plot.hasDots === false ? [] : points).map(
      (point) => `<circle class="dot" cx="${place(point).x}" cy="${place(point).y}" r="3"/>`,
    ),
    `<text class="small note" x="${left}" y="${bottom + 20}">0</text>`,
    `<text class="small note" x="${left + width}" y="${bottom + 20}" text-anchor="end">${plot.toX(mostX)} ${xLabel}</text>`,
  ]
    .filter((part) => part !== '')
    .join('\n');
}

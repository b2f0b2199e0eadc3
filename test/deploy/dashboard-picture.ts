/** The dashboard's JSON, as far as the picture shows it. */
export interface Dashboard {
  displayName: string;
  mosaicLayout: { columns: number; tiles: Tile[] };
}
interface Tile {
  xPos?: number;
  yPos?: number;
  width: number;
  height: number;
  widget: {
    title: string;
    logsPanel?: { filter: string };
    xyChart?: {
      dataSets: {
        plotType: string;
        legendTemplate: string;
        timeSeriesQuery: { timeSeriesFilter: { filter: string } };
      }[];
    };
  };
}

/** Pixels of one row and one column of the layout. */
const unit = 18;
const head = 64;

/**
 * Draws the layout of a dashboard: for each tile its place, its title, and what it charts by which legend. It has no data and
 * says so.
 */
export function drawDashboard({ displayName, mosaicLayout: { columns, tiles } }: Dashboard): string {
  const rows = Math.max(...tiles.map(({ yPos = 0, height }) => yPos + height));
  const [width, height] = [columns * unit, head + rows * (unit / 2)];
  const label = `The tiles of the dashboard: ${tiles.map(({ widget }) => widget.title).join(', ')}`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="title desc">`,
    `<title id="title">The dashboard ${escape(displayName)}, without data</title>`,
    `<desc id="desc">${escape(label)}</desc>`,
    style,
    `<rect class="page" width="${width}" height="${height}"/>`,
    `<text class="name" x="16" y="26">${escape(displayName)}</text>`,
    `<text class="note" x="16" y="48">Drawn from the dashboard’s JSON in terraform/dashboard.tf, without data. Not a screenshot of Cloud Monitoring.</text>`,
    ...tiles.map((tile) => drawTile(tile)),
    '</svg>\n',
  ].join('\n');
}

const style = `<style>
  text { font: 13px system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #1f2328 }
  .name { font-size: 17px; font-weight: 600 }
  .title { font-weight: 600 }
  .note { font-size: 12px; fill: #59636e }
  .page { fill: #f6f8fa }
  .tile { fill: #fff; stroke: #d1d9e0 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .note { fill: #9198a1 }
    .page { fill: #010409 }
    .tile { fill: #0d1117; stroke: #3d444d }
  }
</style>`;

function drawTile({ xPos = 0, yPos = 0, width, height, widget }: Tile): string {
  const [x, y] = [xPos * unit + 6, head + (yPos * unit) / 2 + 6];
  const lines = widget.logsPanel ? ['lines of the log'] : (widget.xyChart?.dataSets ?? []).flatMap(describe);
  return [
    `<rect class="tile" x="${x}" y="${y}" width="${width * unit - 12}" height="${(height * unit) / 2 - 12}" rx="6"/>`,
    `<text class="title" x="${x + 12}" y="${y + 24}">${escape(widget.title)}</text>`,
    ...lines.map(
      (line, i) => `<text class="note" x="${x + 12}" y="${y + 48 + i * 20}">${escape(line)}</text>`,
    ),
  ].join('\n');
}

/** How it is drawn and the legend, with the labels in braces, then the metric. */
function describe({
  plotType,
  legendTemplate,
  timeSeriesQuery,
}: NonNullable<Tile['widget']['xyChart']>['dataSets'][number]): string[] {
  const [, metric = ''] = /metric\.type="([^"]+)"/.exec(timeSeriesQuery.timeSeriesFilter.filter) ?? [];
  const shape = plotType === 'STACKED_BAR' ? 'bars' : 'line';
  return [
    `${shape}: ${legendTemplate.replaceAll(/\$\{(?:metric|resource)\.labels\.(\w+)\}/g, '{$1}')}`,
    metric.replace('logging.googleapis.com/user/', ''),
  ];
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}

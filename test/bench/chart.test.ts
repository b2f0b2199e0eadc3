import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { drawChart } from './chart.ts';
import { describeCurve } from './measure-growth.ts';
import type { Result } from './result.ts';

const bench = import.meta.dirname;

describe('drawChart', () => {
  it('has drawn results.svg from results.json: otherwise `node test/bench/draw.ts`', () => {
    const results = JSON.parse(readFileSync(join(bench, 'results.json'), 'utf8')) as Result[];
    expect(readFileSync(join(bench, 'results.svg'), 'utf8')).to.equal(drawChart(results));
  });

  it('writes times and ratios as the README does', () => {
    const drawn = drawChart([
      measure('cold-cordon', { value: 274.6, reference: 152, ratio: 1.806 }),
      measure('cordon-2304-20ms', { value: 1397, reference: 720, ratio: 1.94 }),
      measure('cordon-2304-sequential', { value: 1368, reference: 50_123, ratio: 36.6 }),
    ]);
    expect(toTexts(drawn)).to.include.members([
      '152 ms',
      '275 ms 1.81 ×',
      '1,397 ms',
      '50 s',
      '1,368 ms 37 × faster',
    ]);
    expect(/<desc[^>]*>(.*)<\/desc>/.exec(drawn)?.[1]).to.include(
      '2,304 nodes 1,397 ms, a bare client 720 ms',
    );
  });

  it('explains its lines and scales', () => {
    expect(toTexts(drawChart([])).join('; ')).to.match(
      /^Lower is better\. Each group has its own scale\.;.* a bare client, the patches alone/,
    );
  });

  it('leaves out a group that was not measured', () => {
    const drawn = drawChart([measure('cold-cordon', { value: 275, reference: 152, ratio: 1.81 })]);
    expect(drawn.match(/class="title"/g)).to.have.length(1);
  });

  it('scales each group for itself, and puts the bound on the scale of its bar', () => {
    const drawn = drawChart([
      measure('cordon-128-20ms', { value: 500, reference: 250, ratio: 2 }),
      measure('cordon-2304-20ms', { value: 1000, reference: 750, ratio: 1.33 }),
      measure('cold-cordon', { value: 10, reference: 5, ratio: 2 }),
    ]);
    const widths = [...drawn.matchAll(/<rect class="(?:bar|base)" x="200" y="\d+" width="([\d.]+)"/g)];
    const [hello = 0, cordon = 0, small = 0, large = 0] = widths.map(([, width]) => Number(width));
    expect([hello / cordon, small / large, cordon / large]).to.deep.equal([0.5, 0.5, 1]);
    const marks = [...drawn.matchAll(/class="mark" x1="([\d.]+)"/g)].map(([, x]) => Number(x) - 200);
    expect(marks.slice(1).map((x) => x / large)).to.deep.equal([0.25, 0.75]);
  });

  it('draws what grows on axes from 0, with the straight line that it is compared with', () => {
    const rows = describeCurve(
      new Map([
        [16, 100],
        [1024, 400],
        [2032, 600],
      ]),
      { name: (nodes) => `growth-cordon-${nodes}`, unit: 'ms', goal: 'ratio <= 1.1', what: () => '' },
    );
    expect(rows.map(({ reference, ratio, goal }) => ({ reference, ratio, goal }))).to.deep.equal([
      { reference: null, ratio: null, goal: null },
      { reference: null, ratio: null, goal: null },
      { reference: 700, ratio: 600 / 700, goal: 'ratio <= 1.1' },
    ]);
    const drawn = drawChart(rows);
    expect(toTexts(drawn)).to.include.members(['Time of a cordon', '600 ms at 2,032', '2,032 nodes']);
    expect(/<desc[^>]*>(.*)<\/desc>/.exec(drawn)?.[1]).to.include(
      'Time of a cordon, a curve: 600 ms at 2,032 nodes, a straight line would be at 700 ms.',
    );
    const [curve = ''] = [...drawn.matchAll(/<polyline class="curve" points="([^"]+)"/g)].map(
      ([, points]) => points,
    );
    const [first = [], second = [], third = []] = curve
      .split(' ')
      .map((point) => point.split(',').map(Number));
    const [, , straight = ''] = /class="straight" d="M([^ ]+) L([^"]+)"/.exec(drawn) ?? [];
    const [endX = 0, endY = 0] = straight.split(',').map(Number);
    const rise = (from: number[], to: number[]) =>
      ((from[1] ?? 0) - (to[1] ?? 0)) / ((to[0] ?? 0) - (from[0] ?? 0));
    expect(rise(first, second)).to.be.closeTo(rise(first, [endX, endY]), 0.02);
    expect(rise(second, third)).to.be.closeTo((rise(first, second) * 2) / 3, 0.02);
    expect(endX).to.equal(third[0]);
  });

  it('draws one plot for each thing that grows and was measured', () => {
    const row = (name: string, value: number) => measure(name, { value, reference: null, ratio: null });
    const drawn = drawChart([
      row('growth-cordon-16', 1),
      row('growth-cordon-128', 2),
      row('growth-cordon-16-rss', 80),
      row('growth-reconcile-1', 3),
    ]);
    expect(
      [...drawn.matchAll(/class="curve" points="([^"]*)"/g)].map(
        ([, points = '']) => points.split(' ').length,
      ),
    ).to.deep.equal([2, 1, 1]);
    expect(drawn).not.to.include('class="straight" d');
  });
});

function measure(
  name: string,
  { value, reference, ratio }: Pick<Result, 'value' | 'reference' | 'ratio'>,
): Result {
  return { name, value, reference, ratio, unit: 'ms', goal: null, what: '' };
}

function toTexts(drawn: string): string[] {
  return [...drawn.matchAll(/<text[^>]*>(.*?)<\/text>/g)].map(([, text = '']) =>
    text.replaceAll(/<[^>]*>/g, ''),
  );
}

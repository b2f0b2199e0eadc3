import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { drawSoak } from './soak-chart.ts';
import { judgeSoak } from './soak-judgement.ts';
import type { Probe, SoakResult } from './soak-judgement.ts';

const mb = 1024 * 1024;
const done = new Map(
  ['restart', 'restart again', 'uncordon', 'alert', 'close', 'repair', 'reconcile'].map((what) => [
    `${what} 200`,
    5,
  ]),
);

function probe(index: number, changes: Partial<Probe> = {}): Probe {
  return {
    at: index * 1000,
    rss: 150 * mb,
    heapUsed: 25 * mb,
    external: 5 * mb,
    resources: { TCPServerWrap: 1, PipeWrap: 2, Timeout: 3 },
    listeners: { SIGTERM: 1 },
    ...changes,
  };
}

/** @param change what each of the 100 probes has besides */
function judge(
  change: (index: number) => Partial<Probe>,
  others: Partial<Parameters<typeof judgeSoak>[0]> = {},
): SoakResult {
  const probes = Array.from({ length: 100 }, (_, index) => probe(index, change(index)));
  return judgeSoak({
    probes,
    rested: probe(0),
    ended: probe(100),
    sent: 50,
    minutes: 2,
    outcomes: done,
    output: '',
    ...others,
  });
}

describe('the judgement of a soak', () => {
  it('finds nothing wrong with memory that rises at first and is flat then', () => {
    const result = judge((index) => ({ heapUsed: (index < 15 ? 10 + index : 25) * mb }));
    expect(result.faults).to.deep.equal([]);
    expect(result.heapMb).to.deep.equal({ early: 30, late: 30 });
    expect(result.curve).to.have.length(100);
  });

  it('finds a leak of 100 KB a second, inside the heap or outside of it', () => {
    for (const key of ['heapUsed', 'external'] as const) {
      const [fault] = judge((index) => ({ [key]: 25 * mb + index * 100_000 })).faults;
      expect(fault).to.match(/^the heap grew from \d/);
    }
    const [fault] = judge((index) => ({ rss: (150 + index) * mb })).faults;
    expect(fault).to.match(/^memory grew from \d/);
  });

  it('finds sockets and listeners that are left over', () => {
    const ended = probe(100, {
      resources: { TCPServerWrap: 1, PipeWrap: 2, TCPSocketWrap: 2 },
      listeners: { SIGTERM: 3 },
    });
    expect(judge(() => ({}), { ended }).faults).to.deep.equal([
      '2 sockets were left over',
      '2 listeners were left over',
    ]);
    const output = '(node:1) MaxListenersExceededWarning: Possible EventEmitter memory leak';
    expect(judge(() => ({}), { output }).faults).to.deep.equal(['Node warned of too many listeners']);
  });

  it('finds errors, and a run that has done nothing', () => {
    const outcomes = new Map([...done, ['repair 503 upstream_failed', 2]]);
    expect(judge(() => ({}), { outcomes }).faults).to.deep.equal(['2 × repair 503 upstream_failed']);
    const output = '{"severity":"ERROR","code":"internal"}';
    expect(judge(() => ({}), { output }).faults).to.deep.equal(['the function logged an internal error']);
    expect(judge(() => ({}), { outcomes: new Map() }).faults).to.include('there was no restart 200');
    expect(judge(() => ({}), { probes: [probe(1)] }).faults).to.include('only 1 probes');
  });
});

describe('drawSoak', () => {
  it('has drawn soak.svg from soak.json', () => {
    const result = JSON.parse(readFileSync(join(import.meta.dirname, 'soak.json'), 'utf8')) as SoakResult;
    expect(readFileSync(join(import.meta.dirname, 'soak.svg'), 'utf8')).to.equal(drawSoak(result));
  });

  it('draws memory and heap over the minutes', () => {
    const drawn = drawSoak(judge(() => ({})));
    expect(drawn.match(/<polyline/g)).to.have.length(2);
    expect(drawn).to.include('>Memory of the process<').and.to.include('>150 MB, then 150 MB<');
    expect(drawn).not.to.include('<circle');
  });
});

import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readFileSync, rmSync } from 'node:fs';
import { expect } from 'chai';
import type { ControlPlane } from './capabilities.ts';
import { judgeAgain, runChaos } from './chaos.ts';
import type { ChaosResult } from './chaos.ts';
import type { Entry } from './chaos-history.ts';
import { notJudged } from './chaos-judge.ts';
import type { Judgement } from './chaos-judge.ts';
import { tellStory } from './chaos-story.ts';
import { startOrSkip } from './start-or-skip.ts';

/** `npm run test:chaos` sets them. Without them, a short run with a fixed seed. */
const minutes = Number(process.env['CHAOS_MINUTES'] ?? 0.75);
const actions = Number(process.env['CHAOS_ACTIONS'] ?? 12);
const isLong = process.env['CHAOS_MINUTES'] !== undefined;
const seed = Number(process.env['CHAOS_SEED'] ?? (isLong ? Date.now() % 1_000_000 : 55));
const lanes = Number(process.env['CHAOS_LANES'] ?? (isLong ? 8 : 3));
/** More than the lock, the resumes, the verdict and what follows from that take together. */
const settleSeconds = Number(process.env['CHAOS_SETTLE_SECONDS'] ?? 480);
/** A history that was written before is judged again. */
const given = process.env['CHAOS_HISTORY'];

describe('chaos on a real control plane', function () {
  let controlPlane: ControlPlane | undefined;

  before(async function () {
    if (given === undefined) controlPlane = await startOrSkip(this, 'chaos on a real control plane');
  });

  after(async () => controlPlane?.stop());

  it('breaks no promise, and settles every action', async function () {
    this.timeout((minutes + 30) * 60_000);
    const say = (line: string): void => console.log(`        ${line}`);
    const historyPath = given ?? join(tmpdir(), `autometric-failover-chaos-${seed}.jsonl`);
    say(`seed ${seed}, ${minutes} min, ${actions} actions and alerts, ${lanes} lanes`);
    const result: Judgement & Partial<ChaosResult> & { entries: Entry[] } = controlPlane
      ? await runChaos(controlPlane, { seed, minutes, actions, lanes, settleSeconds, say, historyPath })
      : judgeAgain(readFileSync(historyPath, 'utf8'), lanes);
    if (result.faults) say(`faults and kills: ${toText(result.faults)}`);
    if (result.outcomes) say(`last answers: ${toText(result.outcomes)}`);
    const { violations, entries, unknownSessions } = result;
    const of = (kind: string) => entries.filter((entry) => entry.kind === kind).length;
    say(`${of('call')} calls, ${of('delivery')} requests, ${of('deletion')} machines deleted`);
    say(`connections that nobody can name: ${unknownSessions}`);
    for (const [promise, why] of Object.entries(notJudged)) say(`${promise} is judged in part: ${why}`);
    for (const violation of violations.slice(0, 5)) console.log(tellStory(violation, entries, result));
    if (violations.length === 0 && given === undefined && process.env['CHAOS_KEEP'] === undefined) {
      rmSync(historyPath);
    }
    expect(violations, `seed ${seed}; the history is in ${historyPath}`).to.deep.equal([]);
  });
});

function toText(counts: Map<string, number>): string {
  return [...counts].map(([what, count]) => `${what} ${count}`).join(', ');
}

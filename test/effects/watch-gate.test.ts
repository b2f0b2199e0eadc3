import { expect } from 'chai';
import { Deadline } from '../../src/clock.ts';
import { watchGate } from '../../src/effects/watch-gate.ts';
import { SettableClock } from '../fixtures/in-memory-kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';

describe('watchGate', () => {
  function watch(gate: (clock: SettableClock) => Promise<number>) {
    const clock = new SettableClock();
    return watchGate(() => gate(clock), new Deadline(clock, 10_000));
  }

  it('has let nothing through until the gate has, and then says how long a try may take', async () => {
    const { gate, isPassed } = watch(async () => 7);
    expect(isPassed()).to.equal(false);
    expect(await gate()).to.equal(7);
    expect(isPassed()).to.equal(true);
  });

  it('has let nothing through where the gate stops the action, or the deadline passes in it', async () => {
    const lost = new Error('the lock is lost');
    const stopped = watch(() => Promise.reject(lost));
    expect(await stopped.gate().catch((error: unknown) => error)).to.equal(lost);
    expect(stopped.isPassed()).to.equal(false);
    const late = watch(async (clock) => {
      clock.advance(10_000);
      return 7;
    });
    expect(await refusalOf(late.gate())).to.include({ code: 'upstream_timeout' });
    expect(late.isPassed()).to.equal(false);
  });
});

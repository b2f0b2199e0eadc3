import { expect } from 'chai';
import { createSystemClock } from '../src/clock.ts';

describe('createSystemClock, while the clocks of the machine step', () => {
  let wall: number;
  let monotonic: number;
  /** What passes between the reading of the wall clock and the next one. */
  let pauseMs: number;
  const saved = { wall: Date.now.bind(Date), monotonic: performance.now.bind(performance) };

  beforeEach(() => {
    wall = 1_000_000;
    monotonic = 500;
    pauseMs = 0;
    Date.now = () => {
      const time = Math.floor(wall);
      pass(pauseMs);
      return time;
    };
    performance.now = () => monotonic;
  });

  afterEach(() => {
    Date.now = saved.wall;
    performance.now = saved.monotonic;
  });

  function pass(ms: number): void {
    wall += ms;
    monotonic += ms;
  }

  // F-120: a wall clock that was ahead for a moment made time stand still, and an expired lock look fresh.
  it('goes on after a step forward that was corrected', () => {
    const clock = createSystemClock();
    wall += 3_600_000;
    const ahead = clock.now();
    wall -= 3_600_000;
    pass(60_000);
    expect(clock.now() - ahead).to.be.within(60_000, 60_002);
    pass(10_000);
    expect(clock.now() - ahead).to.be.within(70_000, 70_002);
  });

  it('counts a suspend that comes after a step back', () => {
    const clock = createSystemClock();
    wall -= 3_600_000;
    const before = clock.now();
    wall += 300_000;
    expect(clock.now() - before).to.be.within(300_000, 300_002);
  });

  it('never runs backwards, and never slower than the monotonic clock, whatever the wall clock does', () => {
    const clock = createSystemClock();
    const steps = [0, 5, -700, 12_000, -3, 0.4, -50_000, 1, 999];
    for (let round = 0; round < 1000; round++) {
      const before = clock.now();
      wall += steps[round % steps.length] ?? 0;
      pass(round % 4);
      expect(clock.now() - before).to.be.at.least(round % 4);
    }
  });

  // Whole milliseconds against fractions: to add the greater difference at each call would gain time at each call.
  it('does not run ahead when it is asked many times in a millisecond', () => {
    const clock = createSystemClock();
    const startedAt = clock.now();
    for (let call = 0; call < 30_000; call++) {
      pass(0.3);
      clock.now();
    }
    expect(clock.now() - startedAt).to.be.within(8_998, 9_002);
  });

  it('takes no leap for a pause between its readings of the two clocks', () => {
    const clock = createSystemClock();
    const startedAt = clock.now();
    pauseMs = 120_000;
    clock.now();
    pauseMs = 0;
    for (let call = 0; call < 5; call++) clock.now();
    expect(clock.now() - startedAt).to.be.within(120_000, 120_002);
  });
});

import { expect } from 'chai';
import { useFakeTimers } from 'sinon';
import type { SinonFakeTimers } from 'sinon';
import { createSystemClock, Deadline } from '../src/clock.ts';
import type { Clock } from '../src/clock.ts';
import { refusal } from './fixtures/refusal-of.ts';

describe('createSystemClock', () => {
  let wall: SinonFakeTimers;

  beforeEach(() => {
    wall = useFakeTimers({ now: 1_000_000, toFake: ['Date', 'performance'] });
  });

  afterEach(() => wall.restore());

  it('follows the wall clock', () => {
    const clock = createSystemClock();
    expect(clock.now()).to.equal(1_000_000);
    wall.tick(1500);
    expect(clock.now()).to.equal(1_001_500);
  });

  // Else an expired lock would look young again, and two would act on one pool.
  it('goes on while the wall clock is set back', () => {
    const clock = createSystemClock();
    wall.tick(5000);
    wall.setSystemTime(10);
    wall.tick(2000);
    expect(clock.now()).to.equal(1_007_000);
  });

  // The monotonic clock stands still while a virtual machine is suspended.
  it('jumps ahead with the wall clock when the monotonic clock stood still', () => {
    const clock = createSystemClock();
    wall.setSystemTime(1_060_000);
    expect(clock.now()).to.equal(1_060_000);
  });

  it('never runs backwards after a leap', () => {
    const clock = createSystemClock();
    wall.setSystemTime(1_060_000);
    expect(clock.now()).to.equal(1_060_000);
    wall.setSystemTime(1_000_000);
    expect(clock.now()).to.equal(1_060_000);
  });

  it('sleeps until it is told to stop', async () => {
    const clock = createSystemClock();
    await clock.sleep(0);
    const controller = new AbortController();
    const sleeping = clock.sleep(60_000, controller.signal).catch((error: unknown) => error);
    controller.abort();
    expect(await sleeping).to.include({ name: 'AbortError' });
  });
});

describe('Deadline', () => {
  let timers: SinonFakeTimers;
  let now: number;
  const clock: Clock = { now: () => now, sleep: async () => undefined };

  beforeEach(() => {
    now = 1000;
    timers = useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  });

  afterEach(() => timers.restore());

  it('says how much time is left, by the clock alone', () => {
    const deadline = new Deadline(clock, 240_000);
    expect(deadline.leftMs()).to.equal(240_000);
    now += 239_999;
    expect(deadline.leftMs()).to.equal(1);
    expect(() => deadline.assertTimeLeft()).not.to.throw();
  });

  // Timers don't fire in an instance that is throttled: it finds out here, when it thaws with the next request.
  it('stops the action exactly at the deadline, and says how to resume it', () => {
    const deadline = new Deadline(clock, 240_000);
    now += 240_000;
    expect(refusal(() => deadline.assertTimeLeft())).to.include({
      code: 'upstream_timeout',
      status: 504,
      message: 'the action ran out of time and was stopped; send it again with the same id to resume it',
    });
    now += 3_600_000;
    expect(deadline.leftMs()).to.equal(-3_600_000);
  });

  it('does not abort running calls when it passes, because their own time-outs do', async () => {
    const deadline = new Deadline(clock, 100);
    now += 1000;
    await timers.tickAsync(1000);
    expect(deadline.signal.aborted).to.equal(false);
  });

  it('leaves 10 s to clean up after it has passed, once', () => {
    const deadline = new Deadline(clock, 1000);
    now += 5000;
    deadline.allowCleanUp();
    expect(deadline.leftMs()).to.equal(10_000);
    now += 10_000;
    expect(deadline.leftMs()).to.equal(0);
  });

  it('never shortens the time when it allows cleaning up', () => {
    const deadline = new Deadline(clock, 60_000);
    deadline.allowCleanUp();
    expect(deadline.leftMs()).to.equal(60_000);
  });

  it('makes a sooner deadline, which is never later than the deadline itself', () => {
    const deadline = new Deadline(clock, 60_000);
    expect(deadline.within(5000).leftMs()).to.equal(5000);
    expect(deadline.within(90_000).leftMs()).to.equal(60_000);
    expect(deadline.leftMs()).to.equal(60_000);
  });

  it('aborts work under a sooner deadline at shutdown too', async () => {
    const deadline = new Deadline(clock, 60_000);
    const sooner = deadline.within(5000);
    deadline.shorten(100);
    await timers.tickAsync(100);
    expect(sooner.signal.aborted).to.equal(true);
  });

  it('comes sooner at shutdown, and then aborts running work', async () => {
    const deadline = new Deadline(clock, 240_000);
    deadline.shorten(7000);
    expect(deadline.leftMs()).to.equal(7000);
    await timers.tickAsync(6999);
    expect(deadline.signal.aborted).to.equal(false);
    await timers.tickAsync(1);
    expect(deadline.signal.aborted).to.equal(true);
  });

  it('is never extended by a shutdown', () => {
    const deadline = new Deadline(clock, 3000);
    deadline.shorten(7000);
    expect(deadline.leftMs()).to.equal(3000);
  });

  it('leaves no time to clean up after a shutdown, because the instance is killed', () => {
    const deadline = new Deadline(clock, 240_000);
    deadline.shorten(7000);
    now += 7000;
    deadline.allowCleanUp();
    expect(deadline.leftMs()).to.equal(0);
  });

  describe('for one of several actions', () => {
    it('passes with the whole, and gives the others no time by its cleaning up', () => {
      const whole = new Deadline(clock, 60_000);
      now += 10_000;
      const one = whole.forOne();
      expect(one.leftMs()).to.equal(50_000);
      now += 50_000;
      one.allowCleanUp();
      expect([one.leftMs(), whole.leftMs()]).to.deep.equal([10_000, 0]);
      expect(whole.forOne().leftMs()).to.equal(0);
    });

    it('is shortened and aborted with the whole at shutdown, and has no time to clean up then', async () => {
      const whole = new Deadline(clock, 60_000);
      const one = whole.forOne();
      whole.shorten(7000);
      expect(one.leftMs()).to.equal(7000);
      now += 7000;
      one.allowCleanUp();
      expect(one.leftMs()).to.equal(0);
      await timers.tickAsync(7000);
      expect(one.signal.aborted).to.equal(true);
    });
  });
});

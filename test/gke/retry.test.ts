import { expect } from 'chai';
import { restore, stub, useFakeTimers } from 'sinon';
import { Deadline } from '../../src/clock.ts';
import type { Clock } from '../../src/clock.ts';
import { FailoverError, UpstreamError } from '../../src/errors.ts';
import { callWithRetries, parseRetryAfter } from '../../src/gke/retry.ts';
import type { CallOptions, CallLimits, Gate } from '../../src/gke/retry.ts';

describe('callWithRetries', () => {
  afterEach(() => restore());

  it('returns the first answer without waiting', async () => {
    const { limits, waits } = setUp();
    const answer = await callWithRetries(limits, async ({ timeoutMs }) => timeoutMs);
    expect(answer).to.equal(10_000);
    expect(waits).to.deep.equal([]);
  });

  for (const [name, details] of [
    ['a 500', { status: 500 }],
    ['a 503', { status: 503 }],
    ['a connection that was lost', {}],
    ['a time-out', { isTimeout: true }],
  ] as const) {
    it(`tries again after ${name}, waiting longer each time, and gives up after five tries`, async () => {
      for (const [random, expected] of [
        [0, [100, 200, 400, 800]],
        [1, [200, 400, 800, 1600]],
      ] as const) {
        useRandom(random);
        const { limits, waits } = setUp();
        expect(await countCalls(limits, toError(details))).to.equal(5);
        expect(waits).to.deep.equal(expected);
      }
    });
  }

  for (const status of [400, 401, 403, 404, 409, 410, 422]) {
    it(`does not try again after ${status}, which is final`, async () => {
      const { limits } = setUp();
      expect(await countCalls(limits, toError({ status }))).to.equal(1);
    });
  }

  it('does not try again after an error that is not from an upstream', async () => {
    const { limits } = setUp();
    expect(await countCalls(limits, new TypeError('a bug'))).to.equal(1);
    expect(await countCalls(limits, new FailoverError('paused', 'x'))).to.equal(1);
  });

  it('lets the caller say which errors to retry', async () => {
    const { limits } = setUp();
    const once = { ...limits, shouldRetry: () => false };
    expect(await countCalls(once, toError({ status: 500 }))).to.equal(1);
  });

  it('returns the answer of a later try', async () => {
    const { limits, waits } = setUp();
    let calls = 0;
    const answer = await callWithRetries(limits, async () => {
      if (++calls < 3) throw toError({ status: 500 });
      return 'done';
    });
    expect(answer).to.equal('done');
    expect(waits).to.have.lengthOf(2);
  });

  it('waits as long as Retry-After says, and then a little', async () => {
    for (const [random, expected] of [
      [0, 7000],
      [1, 7200],
    ] as const) {
      useRandom(random);
      expect(await waitsAfter({ status: 503, retryAfterSeconds: 7 })).to.deep.equal([expected]);
    }
  });

  it('waits no less than it would by itself, whatever Retry-After says', async () => {
    useRandom(0);
    expect(await waitsAfter({ status: 429, retryAfterSeconds: 0 })).to.deep.equal([100]);
  });

  it('waits 15 s at most, because the lock would expire', async () => {
    expect(await waitsAfter({ status: 429, retryAfterSeconds: 3600 })).to.deep.equal([15_000]);
  });

  it('tries a throttling server more often, but not forever', async () => {
    useRandom(1);
    const { limits, waits } = setUp({ deadlineMs: 3_600_000 });
    expect(await countCalls(limits, toError({ status: 429 }))).to.equal(40);
    expect(Math.max(...waits)).to.equal(5000);
  });

  it('does not start a wait that the deadline cuts off', async () => {
    const { limits, waits, time } = setUp({ deadlineMs: 10_000 });
    const error = await failureOf(() =>
      callWithRetries(limits, async () => {
        throw toError({ status: 503, retryAfterSeconds: 10 });
      }),
    );
    expect(error).to.include({ code: 'upstream_failed', upstreamStatus: 503 });
    expect(waits).to.deep.equal([]);
    expect(time.now).to.equal(0);
  });

  it('does not wait until the exact end of the deadline, because nothing may be sent then', async () => {
    const failure = toError({ status: 429, retryAfterSeconds: 3600 });
    const { limits, waits } = setUp({ deadlineMs: 15_000 });
    expect(await countCalls(limits, failure)).to.equal(1);
    expect(waits).to.deep.equal([]);
    const longer = setUp({ deadlineMs: 15_001 });
    expect(await countCalls(longer.limits, failure)).to.equal(2);
  });

  it('starts no call once the clock has passed the deadline', async () => {
    const { limits, time } = setUp({ deadlineMs: 10_000 });
    let calls = 0;
    const error = await failureOf(() =>
      callWithRetries(limits, async () => {
        calls++;
        time.now = 10_000;
        throw toError({ status: 500 });
      }),
    );
    expect(calls).to.equal(1);
    expect(error).to.include({ code: 'upstream_failed' });
    expect(await failureOf(() => callWithRetries(limits, async () => calls++))).to.include({
      code: 'upstream_timeout',
    });
    expect(calls).to.equal(1);
  });

  it('gives each try 10 s, or what the deadline leaves', async () => {
    const { limits, time } = setUp({ deadlineMs: 12_000 });
    const given: number[] = [];
    const read = async ({ timeoutMs }: CallOptions) => void given.push(timeoutMs);
    await callWithRetries(limits, read);
    time.now = 5000;
    await callWithRetries(limits, read);
    expect(given).to.deep.equal([10_000, 7000]);
  });

  describe('with a gate', () => {
    it('asks the gate before every call, and gives the call no longer than the gate allows', async () => {
      const { limits } = setUp();
      const allowed = [10_500, 4000, 800];
      const given: number[] = [];
      await callWithRetries(
        { ...limits, gate: async () => allowed[given.length] ?? 0 },
        async ({ timeoutMs }) => {
          given.push(timeoutMs);
          if (given.length < 3) throw toError({ status: 500 });
        },
      );
      expect(given).to.deep.equal([10_000, 4000, 800]);
    });

    it('sends nothing once the gate has closed', async () => {
      const { limits } = setUp();
      let asked = 0;
      const gate = async () => {
        if (++asked === 2) throw new FailoverError('upstream_timeout', 'the lock has expired');
        return 10_000;
      };
      let calls = 0;
      const error = await failureOf(() =>
        callWithRetries({ ...limits, gate }, async () => {
          calls++;
          throw toError({ status: 500 });
        }),
      );
      expect(calls).to.equal(1);
      expect(error).to.include({ code: 'upstream_timeout', message: 'the lock has expired' });
    });

    it('does not ask the gate after the deadline', async () => {
      const { limits, time } = setUp({ deadlineMs: 10_000 });
      time.now = 10_000;
      let asked = 0;
      const gate = async () => ++asked;
      expect(await failureOf(() => callWithRetries({ ...limits, gate }, async () => 'x'))).to.include({
        code: 'upstream_timeout',
      });
      expect(asked).to.equal(0);
    });

    it('sends nothing when the deadline passed while the gate renewed the lock', async () => {
      const { limits, time } = setUp({ deadlineMs: 10_000 });
      let calls = 0;
      const gate = async () => {
        time.now = 10_000;
        return 40_000;
      };
      expect(await failureOf(() => callWithRetries({ ...limits, gate }, async () => calls++))).to.include({
        code: 'upstream_timeout',
      });
      expect(calls).to.equal(0);
    });
  });

  // What was refused may have been done by an earlier try whose answer was lost; then its mark must stay.
  describe('tells whether a call may have worked', () => {
    const failWith = async (details: { status?: number }[], gate?: Gate) => {
      const { limits } = setUp();
      let calls = 0;
      const thrown = await failureOf(() =>
        callWithRetries({ ...limits, gate }, async () => {
          throw toError(details[calls++] ?? { status: 400 });
        }),
      );
      return thrown as UpstreamError;
    };

    it('by its only call', async () => {
      expect((await failWith([{ status: 403 }])).mayHaveWorked).to.equal(false);
    });

    it('by the answers to the earlier calls', async () => {
      expect((await failWith([{}, { status: 403 }])).mayHaveWorked).to.equal(true);
      expect((await failWith([{ status: 503 }, { status: 429 }, { status: 400 }])).mayHaveWorked).to.equal(
        true,
      );
      expect((await failWith([{ status: 429 }, { status: 403 }])).mayHaveWorked).to.equal(false);
    });

    it('even if the gate fails in the end', async () => {
      for (const [first, mayHaveWorked] of [
        [{}, true],
        [{ status: 429 }, false],
      ] as const) {
        let asked = 0;
        const gate = async () => {
          if (++asked === 2) throw toError({ status: 403 });
          return 10_000;
        };
        const thrown = await failWith([first], gate);
        expect(thrown).to.include({ upstreamStatus: 403, mayHaveWorked });
      }
    });
  });

  it('stops waiting when the instance shuts down, and says what had failed', async () => {
    const timers = useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const { limits, time, deadline } = setUp({
        sleep: (_ms, signal) =>
          new Promise((_resolve, reject) =>
            signal?.addEventListener('abort', () => reject(new Error('aborted')), { once: true }),
          ),
      });
      const failing = failureOf(() =>
        callWithRetries(limits, async () => {
          throw toError({ status: 503 });
        }),
      );
      await timers.tickAsync(0);
      deadline.shorten(7000);
      time.now = 7000;
      await timers.tickAsync(7000);
      expect(await failing).to.include({ code: 'upstream_failed', upstreamStatus: 503 });
    } finally {
      timers.restore();
    }
  });
});

describe('parseRetryAfter', () => {
  for (const [value, seconds] of [
    ['0', 0],
    ['7', 7],
    [' 30 ', 30],
    ['999999', 999_999],
    ['1000000', undefined],
    ['-1', undefined],
    ['1.5', undefined],
    ['', undefined],
    ['Wed, 21 Oct 2026 07:28:00 GMT', undefined],
    ['soon', undefined],
    [null, undefined],
    [undefined, undefined],
  ] as const) {
    it(`reads ${JSON.stringify(value)} as ${seconds ?? 'absent'}`, () => {
      expect(parseRetryAfter(value)).to.equal(seconds);
    });
  }
});

/** Makes chance a certainty until the end of the test. */
function useRandom(value: number): void {
  restore();
  stub(Math, 'random').returns(value);
}

/** How long it waits after one failure. */
async function waitsAfter(details: { status: number; retryAfterSeconds: number }): Promise<number[]> {
  const { limits, waits } = setUp();
  let calls = 0;
  await callWithRetries(limits, async () => {
    if (++calls === 1) throw toError(details);
  });
  return waits;
}

/** Time stands still but for what is slept. */
function setUp({ deadlineMs = 240_000, sleep }: { deadlineMs?: number; sleep?: Clock['sleep'] } = {}) {
  const time = { now: 0 };
  const waits: number[] = [];
  const clock: Clock = {
    now: () => time.now,
    sleep:
      sleep ??
      (async (ms) => {
        waits.push(ms);
        time.now += ms;
      }),
  };
  const deadline = new Deadline(clock, deadlineMs);
  const limits: CallLimits = { clock, deadline };
  return { limits, waits, time, deadline };
}

function toError(details: {
  status?: number;
  isTimeout?: boolean;
  retryAfterSeconds?: number;
}): UpstreamError {
  return new UpstreamError({ api: 'Kubernetes API', call: 'GET /x', ...details });
}

/** Counts the tries of a call that always fails with this error, and demands that it is what is thrown in the end. */
async function countCalls(limits: CallLimits, error: Error): Promise<number> {
  let calls = 0;
  const thrown = await failureOf(() =>
    callWithRetries(limits, async () => {
      calls++;
      throw error;
    }),
  );
  expect(thrown).to.equal(error);
  return calls;
}

async function failureOf(work: () => Promise<unknown>): Promise<unknown> {
  try {
    await work();
  } catch (error) {
    return error;
  }
  throw new Error('nothing failed');
}

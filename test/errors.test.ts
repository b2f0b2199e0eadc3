import { expect } from 'chai';
import {
  FailoverError,
  isDefiniteRefusal,
  isUpstreamStatus,
  toFailoverError,
  UpstreamError,
} from '../src/errors.ts';
import type { Code } from '../src/errors.ts';

describe('FailoverError', () => {
  const statuses: Record<Code, number> = {
    invalid_action: 400,
    unauthorized: 401,
    forbidden: 403,
    target_not_found: 404,
    method_not_allowed: 405,
    action_in_progress: 409,
    id_reused: 409,
    target_mismatch: 409,
    target_ambiguous: 409,
    target_changed: 409,
    preflight_refused: 409,
    restart_refused: 409,
    repair_refused: 409,
    pool_busy: 409,
    approval_refused: 409,
    paused: 409,
    attempts_exhausted: 409,
    payload_too_large: 413,
    unsupported_media_type: 415,
    rate_limited: 429,
    budget_exceeded: 429,
    correlated_failure: 429,
    internal: 500,
    upstream_failed: 502,
    upstream_timeout: 504,
  };
  // F-62: every failure was a 500, so that callers could not tell retryable from final.
  for (const [code, status] of Object.entries(statuses)) {
    it(`answers ${code} with ${status}`, () => {
      expect(new FailoverError(code as Code, 'why')).to.include({ code, status, message: 'why' });
    });
  }

  it('keeps its cause and its headers', () => {
    const cause = new Error('upstream said');
    const error = new FailoverError('rate_limited', 'later', { cause, headers: { 'Retry-After': '5' } });
    expect(error.cause).to.equal(cause);
    expect(error.headers).to.deep.equal({ 'Retry-After': '5' });
    expect(new FailoverError('paused', 'x')).not.to.have.property('cause');
  });
});

describe('UpstreamError', () => {
  const base = { api: 'Kubernetes API', call: 'PATCH /api/v1/nodes/a' } as const;

  for (const { name, details, code, message } of [
    {
      name: 'an answer',
      details: { status: 500 },
      code: 'upstream_failed',
      message: 'the Kubernetes API answered 500 (PATCH /api/v1/nodes/a)',
    },
    {
      name: 'an answer with a reason',
      details: { status: 409, reason: 'Conflict' },
      code: 'upstream_failed',
      message: 'the Kubernetes API answered 409 Conflict (PATCH /api/v1/nodes/a)',
    },
    {
      name: 'a time-out',
      details: { isTimeout: true },
      code: 'upstream_timeout',
      message: 'the Kubernetes API did not answer in time (PATCH /api/v1/nodes/a)',
    },
    {
      name: 'a connection that was refused',
      details: {},
      code: 'upstream_failed',
      message: 'the Kubernetes API could not be reached, or broke the connection (PATCH /api/v1/nodes/a)',
    },
    {
      name: 'a denial with what lifts it',
      details: { status: 403, reason: 'Forbidden', advice: 'grant it' },
      code: 'upstream_failed',
      message: 'the Kubernetes API answered 403 Forbidden (PATCH /api/v1/nodes/a): grant it',
    },
  ]) {
    it(`says which API failed at which call: ${name}`, () => {
      expect(new UpstreamError({ ...base, ...details })).to.include({ code, message });
    });
  }

  it('shows neither the upstream’s text nor its status', () => {
    const error = new UpstreamError({ ...base, status: 404, cause: new Error('secret') });
    expect(error.message).not.to.contain('secret');
    expect(error.status).to.equal(502);
    expect(error.upstreamStatus).to.equal(404);
    expect((error.cause as Error).message).to.equal('secret');
  });

  for (const [status, isRetryable] of [
    [undefined, true],
    [429, true],
    [500, true],
    [503, true],
    [400, false],
    [401, false],
    [403, false],
    [404, false],
    [409, false],
    [422, false],
  ] as const) {
    it(`${isRetryable ? 'may' : 'must not'} be tried again after ${status ?? 'no answer'}`, () => {
      expect(new UpstreamError({ ...base, status }).isRetryable).to.equal(isRetryable);
    });
  }

  for (const [status, mayHaveWorked] of [
    [undefined, true],
    [200, true],
    [299, true],
    [300, false],
    [400, false],
    [403, false],
    [409, false],
    [429, false],
    [499, false],
    [500, true],
    [503, true],
  ] as const) {
    it(`${mayHaveWorked ? 'may' : 'cannot'} have worked with ${status ?? 'no'} for an answer`, () => {
      expect(new UpstreamError({ ...base, status }).mayHaveWorked).to.equal(mayHaveWorked);
    });
  }

  it('lets the caller say whether the call may be tried again', () => {
    expect(new UpstreamError({ ...base, status: 403, isRetryable: true }).isRetryable).to.equal(true);
    expect(new UpstreamError({ ...base, isRetryable: false }).isRetryable).to.equal(false);
  });
});

describe('isUpstreamStatus', () => {
  const conflict = new UpstreamError({ api: 'Kubernetes API', call: 'PUT', status: 409 });

  it('is true for an upstream answer with one of the statuses', () => {
    expect(isUpstreamStatus(conflict, 404, 409)).to.equal(true);
    expect(isUpstreamStatus(conflict, 404)).to.equal(false);
  });

  it('is false for everything else', () => {
    expect(isUpstreamStatus(new UpstreamError({ api: 'Kubernetes API', call: 'PUT' }), 409)).to.equal(false);
    expect(isUpstreamStatus(new FailoverError('paused', 'x'), 409)).to.equal(false);
    expect(isUpstreamStatus({ upstreamStatus: 409 }, 409)).to.equal(false);
    expect(isUpstreamStatus(undefined, 409)).to.equal(false);
  });
});

describe('isDefiniteRefusal', () => {
  const toError = (status: number | undefined) =>
    new UpstreamError({ api: 'Compute API', call: 'DELETE', status });

  for (const status of [400, 401, 403, 429]) {
    it(`is true for an answer of ${status}, unless an earlier call may have worked`, () => {
      const error = toError(status);
      expect(isDefiniteRefusal(error)).to.equal(true);
      error.mayHaveWorked = true;
      expect(isDefiniteRefusal(error)).to.equal(false);
    });
  }

  it('is false for everything else', () => {
    for (const status of [undefined, 200, 404, 409, 500]) {
      expect(isDefiniteRefusal(toError(status))).to.equal(false);
    }
    expect(isDefiniteRefusal(new FailoverError('forbidden', 'x'))).to.equal(false);
  });

  it('is true for the other statuses that the caller names', () => {
    expect(isDefiniteRefusal(toError(404), 404)).to.equal(true);
    expect(isDefiniteRefusal(toError(409), 404)).to.equal(false);
  });
});

describe('toFailoverError', () => {
  it('keeps an error that was chosen as it is', () => {
    const error = new UpstreamError({ api: 'Compute API', call: 'DELETE', status: 500 });
    expect(toFailoverError(error)).to.equal(error);
  });

  for (const thrown of [
    new TypeError('token ya29.abc'),
    'token ya29.abc',
    { token: 'ya29.abc' },
    null,
    undefined,
  ]) {
    it(`shows nothing of ${thrown instanceof Error ? 'a TypeError' : JSON.stringify(thrown)}, which is no chosen error`, () => {
      const error = toFailoverError(thrown);
      expect(error).to.include({
        code: 'internal',
        status: 500,
        message: 'internal error; the log has the details under this id',
      });
      expect(error.cause).to.equal(thrown ?? error.cause);
    });
  }
});

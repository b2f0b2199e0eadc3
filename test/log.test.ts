import { expect } from 'chai';
import { stub } from 'sinon';
import { FailoverError, UpstreamError } from '../src/errors.ts';
import { createLog, describeError, describeStack, toTraceFields } from '../src/log.ts';

describe('createLog', () => {
  it('writes one JSON object on one line for each event, with the severity that Cloud Logging knows', () => {
    const { log, lines } = record();
    log.info('received', 'two\nlines');
    log.warn('refused', 'b');
    log.error('failed', 'c');
    expect(lines.every((line) => line.indexOf('\n') === line.length - 1)).to.equal(true);
    expect(lines.map((line) => JSON.parse(line) as unknown)).to.deep.equal([
      { severity: 'INFO', event: 'received', message: 'two\nlines' },
      { severity: 'WARNING', event: 'refused', message: 'b' },
      { severity: 'ERROR', event: 'failed', message: 'c' },
    ]);
  });

  it('adds the fields that it was bound to, and leaves out what is undefined', () => {
    const { log, lines } = record();
    log
      .with({ action_id: 'a', caller: undefined })
      .with({ type: 'cordon_nodepool' })
      .info('step', 'm', { nodes: 2 });
    log.info('step', 'not bound');
    expect(lines.map((line) => JSON.parse(line) as unknown)).to.deep.equal([
      { severity: 'INFO', event: 'step', message: 'm', action_id: 'a', type: 'cordon_nodepool', nodes: 2 },
      { severity: 'INFO', event: 'step', message: 'not bound' },
    ]);
  });
});

describe('createLog without a place to write to', () => {
  it('writes to stdout, each line in one piece', () => {
    const write = stub(process.stdout, 'write');
    try {
      createLog().info('received', 'm');
      expect(write.args).to.deep.equal([['{"severity":"INFO","message":"m","event":"received"}\n']]);
    } finally {
      write.restore();
    }
  });
});

describe('toTraceFields', () => {
  const traceId = '105445aa7843bc8bf206b12000100000';
  for (const { name, headers, fields } of [
    {
      name: 'X-Cloud-Trace-Context, its span in hexadecimal',
      headers: { 'x-cloud-trace-context': `${traceId}/74;o=1` },
      fields: { trace: traceId, span: '000000000000004a' },
    },
    {
      name: 'X-Cloud-Trace-Context without a span',
      headers: { 'x-cloud-trace-context': traceId },
      fields: { trace: traceId },
    },
    {
      name: 'traceparent',
      headers: { traceparent: `00-${traceId}-00f067aa0ba902b7-01` },
      fields: { trace: traceId, span: '00f067aa0ba902b7' },
    },
    { name: 'nothing', headers: {}, fields: undefined },
    {
      name: 'nonsense',
      headers: { 'x-cloud-trace-context': '../../x', traceparent: '00-zz' },
      fields: undefined,
    },
  ]) {
    it(`reads ${name}`, () => {
      const given: Record<string, string> = headers;
      expect(toTraceFields((header) => given[header], 'ml-prod')).to.deep.equal(
        fields
          ? {
              'logging.googleapis.com/trace': `projects/ml-prod/traces/${fields.trace}`,
              ...('span' in fields ? { 'logging.googleapis.com/spanId': fields.span } : {}),
            }
          : {},
      );
    });
  }

  it('names no trace without a project, because a trace belongs to a project', () => {
    expect(toTraceFields(() => traceId, undefined)).to.deep.equal({});
  });
});

describe('describeError', () => {
  it('has the error’s own text and the chain of its causes', () => {
    const reset = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });
    const cause = new UpstreamError({ api: 'Kubernetes API', call: 'GET /version', cause: reset });
    expect(describeError(new FailoverError('upstream_failed', 'not cordoned', { cause }))).to.deep.equal({
      error: 'not cordoned',
      causes: [
        'UpstreamError upstream_failed: the Kubernetes API could not be reached, or broke the connection (GET /version)',
        'Error ECONNRESET: read ECONNRESET',
      ],
    });
  });

  it('has what was kept of an upstream’s answer', () => {
    const cause = { status: 403, reason: 'Forbidden', message: 'may not' };
    expect(describeError(new FailoverError('upstream_failed', 'x', { cause })).causes).to.deep.equal([
      '{"status":403,"reason":"Forbidden","message":"may not"}',
    ]);
  });

  it('has no causes where there are none', () => {
    expect(describeError(new Error('x'))).to.deep.equal({ error: 'x' });
    expect(describeError('thrown text')).to.deep.equal({ error: 'thrown text' });
    expect(describeError(Object.create(null))).to.deep.equal({ error: '{}' });
  });

  const jwt = 'eyJhbGciOiJSUzI1NiJ9.eyJlbWFpbCI6ImFAZXhhbXBsZS5jb20ifQ.c2lnbmF0dXJl';
  for (const { name, text, secret } of [
    { name: 'a bearer token', text: 'sent Authorization: Bearer abc.def-123/x=', secret: 'abc.def' },
    {
      name: 'Basic credentials',
      text: 'authorization: basic bW9uaXRvcmluZzpzZWNyZXQ=',
      secret: 'bW9uaXRvcmluZz',
    },
    { name: 'an access token', text: '{"access_token":"ya29.c.b0Aaek-_x"}', secret: 'b0Aaek' },
    { name: 'an ID token', text: `{"id_token":"${jwt}"}`, secret: 'eyJlbWFpbCI' },
    {
      name: 'an ID token without its signature',
      text: `got ${jwt.split('.').slice(0, 2).join('.')}.`,
      secret: 'eyJlbWFpbCI',
    },
  ]) {
    it(`never shows ${name}, wherever in the chain it is`, () => {
      const error = new FailoverError('internal', text, { cause: new Error(text, { cause: { text } }) });
      const described = JSON.stringify(describeError(error));
      expect(described).to.contain('***').and.not.to.contain(secret);
    });
  }

  it('shortens long texts, and an endless chain of causes', () => {
    const endless = new Error('x'.repeat(10_000));
    endless.cause = endless;
    const { causes } = describeError(endless) as { causes: string[] };
    expect(causes).to.have.lengthOf(5);
    expect(causes[0]).to.equal(`Error: ${'x'.repeat(500)}`);
    const long = 'y'.repeat(10_000);
    for (const cause of [long, { long }, { long, big: 1n }]) {
      const [described] = describeError(new Error('x', { cause })).causes as string[];
      expect(described).to.have.lengthOf(600);
    }
  });

  // F-64: a request that could not be handled crashed the worker.
  it('describes a cause that cannot be written as JSON', () => {
    const circular: Record<string, unknown> = {};
    circular['self'] = circular;
    for (const cause of [circular, 1n, Symbol('s'), () => 1, Object.create(null)]) {
      expect(describeError(new FailoverError('internal', 'x', { cause })).causes).to.have.lengthOf(1);
    }
  });
});

describe('describeStack', () => {
  it('has the place where an error was thrown, without secrets', () => {
    const stack = describeStack(new TypeError('bad header Bearer abc.def'));
    expect(stack).to.match(/^TypeError: bad header Bearer \*\*\*\n +at .*log\.test\.m?[jt]s/);
  });

  it('has the value that was thrown when it is no error', () => {
    expect(describeStack('Bearer abc.def')).to.equal('Bearer ***');
    expect(describeStack(undefined)).to.equal('undefined');
    expect(describeStack(Object.create(null))).to.equal('{}');
  });
});

function record() {
  const lines: string[] = [];
  return { log: createLog((line) => lines.push(line)), lines };
}

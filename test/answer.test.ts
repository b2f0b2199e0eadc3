import type { Request, Response } from '@google-cloud/functions-framework';
import { expect } from 'chai';
import { sendAnswered } from '../src/answer.ts';
import type { Exchange } from '../src/answer.ts';
import type { Outcome } from '../src/failover/failover.ts';
import { createLog } from '../src/log.ts';

const steps = [{ step: 'cordon', target: 'slice-a', nodes: 16, cordoned: 14, already_cordoned: 2 }];

/** Answers with an outcome; returns the body that was sent and the line that was logged. */
function answer(outcome: Outcome, { isDryRun = false } = {}) {
  let body: unknown;
  let line: Record<string, unknown> = {};
  const response = {
    status: () => response,
    set: () => response,
    type: () => response,
    send: (text: string) => (body = JSON.parse(text)),
  };
  const exchange: Exchange = {
    request: {} as Request,
    response: response as unknown as Response,
    startedAt: performance.now(),
    caller: undefined,
    id: 'incident-7',
    log: createLog((text) => (line = JSON.parse(text) as Record<string, unknown>)),
    type: 'cordon_nodepool',
    isDryRun,
    channel: 'action',
  };
  sendAnswered(exchange, outcome);
  return { body, line };
}

describe('sendAnswered', () => {
  it('answers with the steps of what was done just now, and says them in the log', () => {
    const { body, line } = answer({ steps, isReplay: false });
    expect(body).to.deep.equal({ id: 'incident-7', steps });
    expect(line).to.include({
      outcome: 'done',
      message: 'cordon_nodepool done: cordon slice-a: 14 nodes cordoned, 2 were already',
    });
  });

  // F-146: a replay looked like work.
  it('tells a replay, and when it was done', () => {
    const { body, line } = answer({ steps, isReplay: true, doneAt: Date.parse('2026-11-23T03:00:00Z') });
    const done = { replayed: true, done_at: '2026-11-23T03:00:00.000Z' };
    expect(body).to.deep.equal({ id: 'incident-7', ...done, steps });
    expect(line).to.include({ outcome: 'replayed' });
  });

  it('tells a resume', () => {
    const { body, line } = answer({ steps, isReplay: false, isResume: true });
    expect(body).to.deep.equal({ id: 'incident-7', resumed: true, steps });
    expect(line).to.include({ outcome: 'done', resumed: true });
  });

  // F-147: the log told no content, and a dry run looked like a live action.
  it('says that a dry run was one', () => {
    const { line } = answer(
      { steps: [{ step: 'restart', target: 'default/train', outcome: 'would_restart' }], isReplay: false },
      { isDryRun: true },
    );
    expect(line['message']).to.equal('dry run of cordon_nodepool: restart default/train: would_restart');
  });
});

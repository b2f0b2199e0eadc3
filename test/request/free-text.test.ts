import { expect } from 'chai';
import { readConfig } from '../../src/config.ts';
import { parseAction } from '../../src/request/action.ts';
import type { Action } from '../../src/request/action.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';

const { clusters } = readConfig({ CLUSTERS: 'projects/ml-prod/locations/us-central1/clusters/train' });

const parse = (fields: Record<string, unknown>): Action =>
  parseAction(
    { type: 'cordon_nodepool', node_pool: 'pool-a', requestor: 'detector', reason: 'r', ...fields },
    clusters,
    'id',
  );

describe('reason and requestor of an action', () => {
  // F-123: the earlier controller's detector sends a raw log message, which was refused for its lines and its length.
  it('may be a raw log message: it is flattened and cut, and acted upon', () => {
    const message = `Traceback:\r\n\t File "a.py", line 7\n${'HBM error\n'.repeat(900)}`;
    const { reason } = parse({ reason: message });
    expect(reason).to.match(/^Traceback: {2}File "a.py", line 7 HBM error HBM error .*…$/);
    expect(reason).to.have.lengthOf(1024);
    expect(parse({ requestor: `a\u001b[31m${'b'.repeat(500)}` }).requestor).to.have.lengthOf(256);
  });

  it('are cut between characters', () => {
    const { reason } = parse({ reason: '🔥'.repeat(2000) });
    expect(reason.isWellFormed()).to.equal(true);
    expect(parse({ reason: 'a\ud83dz' }).reason.isWellFormed()).to.equal(true);
  });

  it('are kept as they are up to their length', () => {
    const reason = 'x'.repeat(1024);
    expect(parse({ reason }).reason).to.equal(reason);
    expect(parse({ reason: `${reason}y` }).reason).to.equal(`${'x'.repeat(1023)}…`);
    const requestor = 'x'.repeat(256);
    expect(parse({ requestor }).requestor).to.equal(requestor);
  });

  for (const field of ['reason', 'requestor']) {
    for (const text of ['', ' ', '\n', '\u0000\u2028']) {
      it(`must say something: ${JSON.stringify(text)} as ${field} is refused`, async () => {
        const refusal = await refusalOf((async () => parse({ [field]: text }))());
        expect(refusal).to.include({ code: 'invalid_action', message: `${field} is required` });
      });
    }

    it(`must be text: a number as ${field} is refused`, async () => {
      const refusal = await refusalOf((async () => parse({ [field]: 7 }))());
      expect(refusal.message).to.equal(`${field} must be a string`);
    });
  }
});

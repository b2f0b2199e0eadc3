import { expect } from 'chai';
import { parseLoggingQuery, toLogEntry } from './logging-query.ts';

const entry = toLogEntry(
  '{"severity":"WARNING","message":"no","outcome":"refused","status":429,"dry_run":true,"logging.googleapis.com/labels":{"action_id":"a.1"}}',
  'failover',
);

describe('parseLoggingQuery', () => {
  const cases: [query: string, expected: boolean][] = [
    ['log_id("run.googleapis.com/stdout")', false],
    ['severity=WARNING', true],
    ['severity>=WARNING', true],
    ['severity>=ERROR', false],
    ['jsonPayload.outcome="REFUSED"', true],
    ['jsonPayload.outcome=("done" OR "refused")', true],
    ['jsonPayload.outcome=("done" OR "failed")', false],
    ['jsonPayload.outcome:"fus"', true],
    ['jsonPayload.outcome:*', true],
    ['jsonPayload.code:*', false],
    ['jsonPayload.code!="rate_limited"', false],
    ['NOT jsonPayload.code="rate_limited"', true],
    ['jsonPayload.status>=400 jsonPayload.status<500', true],
    ['jsonPayload.dry_run=true', true],
    ['labels.action_id="a.1"', true],
    ['labels."action_id"="a.1"', true],
    ['resource.labels.service_name=~"^fail"', true],
    // (done OR refused) AND failed
    ['jsonPayload.outcome="done" OR jsonPayload.outcome="refused" AND jsonPayload.outcome="failed"', false],
    ['(jsonPayload.outcome="failed" AND severity>=ERROR) OR jsonPayload.status=429', true],
  ];
  for (const [query, expected] of cases) {
    it(`${expected ? 'matches' : 'does not match'} ${query}`, () => {
      expect(parseLoggingQuery(query)(entry)).to.equal(expected);
    });
  }

  for (const query of ['severity', '(severity=ERROR', 'severity=ERROR)', 'a=(b OR c', '!a=b']) {
    it(`refuses ${query}`, () => {
      expect(() => parseLoggingQuery(query)).to.throw(SyntaxError);
    });
  }
});

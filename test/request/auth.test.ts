import { expect } from 'chai';
import * as fc from 'fast-check';
import { actionTypes } from '../../src/action-type.ts';
import { parseAction } from '../../src/request/action.ts';
import { authoriseAction, readCaller, requireBasicCredentials } from '../../src/request/auth.ts';
import { readConfig } from '../../src/config.ts';
import type { Config } from '../../src/config.ts';
import type { Incident } from '../../src/request/incident.ts';
import { refusal } from '../fixtures/refusal-of.ts';

const environment = { CLUSTERS: 'projects/ml-prod/locations/us-central1/clusters/train' };

describe('authoriseAction', () => {
  const config = readConfig({
    ...environment,
    ALLOWED_ACTIONS: 'cordon_nodepool,cordon_nodepool_and_restart_jobset,uncordon_nodepool',
    ALERT_ACTIONS: 'cordon_nodepool',
    ALLOWED_NAMESPACES: 'default,research',
  });

  for (const type of actionTypes) {
    it(`allows ${type} when nothing restricts it`, () => {
      expect(() => authoriseAction(parse({ type }), readConfig(environment))).not.to.throw();
    });
  }

  it('refuses an action that ALLOWED_ACTIONS leaves out', () => {
    expect(refusedWith(parse({ type: 'repair_nodepool' }), config)).to.deep.equal({
      code: 'forbidden',
      message:
        'repair_nodepool is not allowed here ' +
        '(ALLOWED_ACTIONS is cordon_nodepool, cordon_nodepool_and_restart_jobset, uncordon_nodepool)',
    });
  });

  it('refuses it as a dry run too, because the answer would reveal what the caller may not see', () => {
    expect(refusedWith(parse({ type: 'repair_nodepool', dry_run: true }), config).code).to.equal('forbidden');
  });

  // F-6: any pod in the cluster could trigger deletions.
  it('refuses an alert an action that only a caller may ask for', () => {
    const alert = { ...parse({ type: 'uncordon_nodepool' }), incident };
    expect(refusedWith(alert, config)).to.deep.equal({
      code: 'forbidden',
      message: 'uncordon_nodepool is not allowed here (ALERT_ACTIONS is cordon_nodepool)',
    });
    const cordon = { ...parse({ type: 'cordon_nodepool' }), incident };
    expect(() => authoriseAction(cordon, config)).not.to.throw();
  });

  it('refuses an alert in a namespace that it may only read', () => {
    const alert = { ...parse({ type: 'cordon_nodepool', namespace: 'kube-system' }), incident };
    expect(() => authoriseAction(alert, config)).not.to.throw();
    const looking = { ...alert, incident: { ...incident, namespace: 'kube-system' } };
    expect(refusedWith(looking, config)).to.include({ code: 'forbidden' });
  });

  it('refuses a JobSet in a namespace that is not allowed, and takes one in each that is', () => {
    const restart = { type: 'cordon_nodepool_and_restart_jobset', jobset_name: 'llm' };
    expect(refusedWith(parse({ ...restart, namespace: 'kube-system' }), config)).to.deep.equal({
      code: 'forbidden',
      message: 'namespace kube-system is not allowed here (ALLOWED_NAMESPACES is default, research)',
    });
    for (const namespace of ['default', 'research']) {
      expect(() => authoriseAction(parse({ ...restart, namespace }), config)).not.to.throw();
    }
  });

  it('refuses a JobSet even if it is named only for its Events', () => {
    const action = parse({ type: 'cordon_nodepool', jobset_name: 'llm', namespace: 'kube-system' });
    expect(refusedWith(action, config).code).to.equal('forbidden');
  });

  it('accepts a namespace in which nothing is done', () => {
    expect(() =>
      authoriseAction(parse({ type: 'cordon_nodepool', namespace: 'kube-system' }), config),
    ).not.to.throw();
  });
});

describe('readCaller', () => {
  it('reads the e-mail claim, with or without a signature', () => {
    for (const signature of ['c2ln', '']) {
      expect(
        readCaller(`Bearer ${toToken({ email: 'bot@ml-prod.iam.gserviceaccount.com' }, signature)}`),
      ).to.equal('bot@ml-prod.iam.gserviceaccount.com');
    }
  });

  for (const { name, authorization } of [
    { name: 'no header', authorization: undefined },
    { name: 'Basic credentials', authorization: 'Basic bW9uaXRvcmluZzpzZWNyZXQ=' },
    { name: 'an access token', authorization: 'Bearer ya29.c.b0Aaek' },
    { name: 'the token that a local gcloud sends', authorization: 'Bearer None' },
    { name: 'a token without an e-mail', authorization: `Bearer ${toToken({ sub: '123' })}` },
    { name: 'an e-mail that is no text', authorization: `Bearer ${toToken({ email: ['a@b.c'] })}` },
    {
      name: 'an e-mail with a line feed',
      authorization: `Bearer ${toToken({ email: 'a@b.c\nseverity: x' })}`,
    },
    { name: 'an e-mail that is too long', authorization: `Bearer ${toToken({ email: 'a'.repeat(257) })}` },
    { name: 'a token of null', authorization: `Bearer ${toToken(null)}` },
    { name: 'a token that is no JSON', authorization: 'Bearer abc.def.ghi' },
  ]) {
    it(`reads nothing from ${name}`, () => {
      expect(readCaller(authorization)).to.equal(undefined);
    });
  }

  it('never throws, whatever the header is', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.jsonValue().map(toToken)), (text) => {
        expect(readCaller(`Bearer ${text}`) ?? '').to.be.a('string');
      }),
    );
  });
});

describe('requireBasicCredentials', () => {
  const credentials = { username: 'monitoring', password: 'correct: hörse battery' };

  it('lets the right credentials in, whatever the case of the scheme', () => {
    expect(() =>
      requireBasicCredentials(toBasic('monitoring:correct: hörse battery'), credentials),
    ).not.to.throw();
    expect(() =>
      requireBasicCredentials(
        toBasic('monitoring:correct: hörse battery').replace('Basic', 'basic'),
        credentials,
      ),
    ).not.to.throw();
  });

  for (const { name, authorization } of [
    { name: 'no header', authorization: undefined },
    { name: 'an empty header', authorization: '' },
    { name: 'a bearer token', authorization: `Bearer ${toToken({ email: 'a@b.c' })}` },
    { name: 'empty credentials', authorization: 'Basic ' },
    { name: 'a colon', authorization: toBasic(':') },
    { name: 'another password', authorization: toBasic('monitoring:correct: hörse batterz') },
    { name: 'a part of the password', authorization: toBasic('monitoring:correct') },
    {
      name: 'the password with something behind',
      authorization: toBasic('monitoring:correct: hörse battery '),
    },
    { name: 'another user', authorization: toBasic('Monitoring:correct: hörse battery') },
    { name: 'the password alone', authorization: toBasic('correct: hörse battery') },
    { name: 'credentials that are not encoded', authorization: 'Basic monitoring:correct: hörse battery' },
    {
      name: 'two schemes',
      authorization: `${toBasic('monitoring:correct: hörse battery')}, Bearer x`,
    },
  ]) {
    it(`refuses ${name} with a challenge`, () => {
      const error = refusal(() => requireBasicCredentials(authorization, credentials));
      expect(error).to.include({
        code: 'unauthorized',
        status: 401,
        message: 'the Basic credentials of the webhook notification channel are missing or wrong',
      });
      expect(error.headers).to.deep.equal({
        'WWW-Authenticate': 'Basic realm="autometric-failover", charset="UTF-8"',
      });
    });
  }
});

const incident: Incident = {
  id: '0.n5',
  startedAt: 0,
  isRenotification: false,
  isClosed: false,
  uncordonsOnClose: false,
  subject: undefined,
  displayName: '',
  namespace: undefined,
};

function parse(body: object) {
  const required = { requestor: 'alice', reason: 'why', node_pool: 'pool-a' };
  const needsJobSet = 'type' in body && body.type === 'cordon_nodepool_and_restart_jobset';
  const all = { ...required, ...(needsJobSet ? { jobset_name: 'llm' } : {}), ...body };
  return parseAction(all, readConfig(environment).clusters, 'generated');
}

function refusedWith(action: Parameters<typeof authoriseAction>[0], config: Config) {
  const { code, message } = refusal(() => authoriseAction(action, config));
  return { code, message };
}

function toToken(claims: unknown, signature = 'c2ln'): string {
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${encode({ alg: 'RS256' })}.${encode(claims)}.${signature}`;
}

function toBasic(text: string): string {
  return `Basic ${Buffer.from(text).toString('base64')}`;
}

import { actionTypes } from '../src/action-type.ts';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { readConfig } from '../src/config.ts';
import { FailoverError } from '../src/errors.ts';
import { cordon, fullName, handlerConfig, json, ServedHandler, uuid } from './fixtures/served-handler.ts';

describe('createHandler', () => {
  const served = ServedHandler.forSuite();

  describe('refuses an invalid action before it calls any API', () => {
    // F-1: a misspelt dry run, or `"true"` as a string, ran live.
    for (const row of [
      {
        name: 'a misspelt dry_run',
        body: { ...cordon, dryRun: true },
        error: 'unknown field "dryRun", did you mean "dry_run"?',
      },
      {
        name: 'a quoted dry_run',
        body: { ...cordon, dry_run: 'true' },
        error: 'dry_run must be true or false, without quotes',
      },
      { name: 'no requestor', body: { ...cordon, requestor: null }, error: 'requestor is required' },
      { name: 'no reason', body: { ...cordon, reason: '' }, error: 'reason is required' },
      {
        name: 'an unknown type',
        body: { ...cordon, type: 'drain' },
        error: `unknown action type: drain; known: ${actionTypes.join(', ')}`,
      },
      {
        name: 'no pool',
        body: { ...cordon, node_pool: null },
        error: 'node_pool or node_name is required for cordon_nodepool action',
      },
      {
        name: 'no JobSet',
        body: { ...cordon, type: 'cordon_nodepool_and_restart_jobset' },
        error: 'jobset_name is required for cordon_nodepool_and_restart_jobset action',
      },
      {
        // F-4: an empty pool name, `*` or a list became a selector that matched every node.
        name: 'every pool',
        body: { ...cordon, node_pool: '*' },
        error: 'node_pool must be the name of one node pool',
      },
      {
        name: 'an id that is none',
        body: { ...cordon, id: 'a b' },
        error: 'id must have 1 to 128 characters of A-Z a-z 0-9 . _ -',
        id: undefined,
      },
    ]) {
      it(row.name, async () => {
        const answer = await served.post(row.body);
        expect(answer.status).to.equal(400);
        expect(answer.body).to.deep.include({ error: row.error, code: 'invalid_action' });
        if ('id' in row) expect(answer.body.id).to.match(uuid);
        else expect(answer.body.id).to.equal('incident-7');
        expect(served.connections).to.equal(0);
      });
    }

    it('an action, a namespace or a cluster that the configuration does not allow', async () => {
      served.use({ config: { ...handlerConfig, allowedActions: ['uncordon_nodepool'] } });
      expect((await served.post(cordon)).body).to.deep.include({ id: 'incident-7', code: 'forbidden' });
      served.use();
      const elsewhere = { ...cordon, jobset_name: 'llm', namespace: 'kube-system' };
      expect(await served.post(elsewhere)).to.deep.include({ status: 403 });
      const other = { ...cordon, cluster: 'projects/ml-dev/locations/us-central1/clusters/train' };
      expect(await served.post(other)).to.deep.include({ status: 403 });
      expect(await served.post({ ...cordon, cluster: 'other' })).to.deep.include({ status: 404 });
      expect(served.connections).to.equal(0);
    });

    // F-33: two clusters are configured and none is named: refused, never the first.
    it('no cluster when several are configured', async () => {
      const { clusters } = readConfig({ CLUSTERS: `${fullName},${fullName}-2` });
      served.use({ config: { ...handlerConfig, clusters } });
      expect((await served.post(cordon)).body.error).to.equal(
        `cluster is required because several are configured: ${fullName}, ${fullName}-2`,
      );
      expect(served.connections).to.equal(0);
    });

    const text = JSON.stringify(cordon);
    const bodies: {
      name: string;
      body: string | Buffer;
      headers?: Record<string, string>;
      status: number;
      error: string;
      id?: string | undefined;
    }[] = [
      {
        name: 'malformed JSON',
        body: text.slice(0, -1),
        status: 400,
        error: 'the body is not JSON: it ends too early',
      },
      {
        name: 'malformed JSON without an id',
        body: '{"x',
        status: 400,
        error: 'the body is not JSON: it ends too early',
        id: undefined,
      },
      { name: 'a list', body: `[${text}]`, status: 400, error: 'the body must be a JSON object' },
      { name: 'null', body: 'null', status: 400, error: 'the body must be a JSON object', id: undefined },
      {
        name: 'a string',
        body: '"text"',
        status: 400,
        error: 'the body must be a JSON object',
        id: undefined,
      },
      {
        name: 'a body without a Content-Type',
        body: text,
        headers: {},
        status: 415,
        error: 'the request has no Content-Type; send it with -H "Content-Type: application/json"',
      },
      {
        name: 'what curl -d sends without a header',
        body: text,
        headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
        status: 415,
        error:
          'Content-Type application/x-www-form-urlencoded is not supported; send it with -H "Content-Type: application/json"',
      },
      {
        name: 'another charset',
        body: text,
        headers: { 'Content-Type': 'application/json; charset=utf-16' },
        status: 415,
        error:
          'Content-Type application/json; charset=utf-16 is not supported; send it with -H "Content-Type: application/json"',
      },
      {
        name: 'a packed body',
        body: gzipSync(text),
        headers: { ...json, 'Content-Encoding': 'gzip' },
        status: 415,
        error: 'Content-Encoding gzip is not supported; send the body plain',
        id: undefined,
      },
      {
        name: 'an empty body',
        body: '',
        status: 400,
        error: 'the body is empty; it must be a JSON object',
        id: undefined,
      },
      {
        name: 'an empty body without a Content-Type',
        body: '',
        headers: {},
        status: 415,
        error: 'the request has no Content-Type; send it with -H "Content-Type: application/json"',
        id: undefined,
      },
      {
        name: 'a body of 3 MB',
        body: text.replace('HBM', 'x'.repeat(3_000_000)),
        status: 413,
        error: `the body is ${text.length + 3_000_000 - 3} bytes; the limit is 262144`,
        id: undefined,
      },
      {
        name: '20,000 levels of nesting',
        body: text.replace('"HBM errors"', `${'['.repeat(20_000)}${']'.repeat(20_000)}`),
        status: 400,
        error: 'reason must be a string',
      },
      {
        name: '20,000 levels of nesting in a check',
        body: `${text.slice(0, -1)},"preflight_checks":${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}}`,
        status: 400,
        error:
          'unknown field "preflight_checks.a"; known fields: preflight_checks.expected_node_counts, preflight_checks.spare_capacity',
      },
      {
        name: 'a field that is given twice',
        body: `${text.slice(0, -1)},"dry_run":true,"dry_run":false}`,
        status: 400,
        error: 'field "dry_run" is given twice',
      },
      {
        name: '__proto__',
        body: `${text.slice(0, -1)},"__proto__":{"dry_run":true}}`,
        status: 400,
        error:
          'unknown field "__proto__"; known fields: id, dry_run, requestor, reason, type, namespace, jobset_name, node_pool, ' +
          'node_name, preflight_checks, on_failure, uncordon_when_repaired, accept, restart_grace_seconds, when_no_spare, repair, approval, fault, cluster',
      },
    ];
    for (const row of bodies) {
      const { name, body, headers = json, status, error } = row;
      it(`${name}, and answers JSON instead of the framework's page`, async () => {
        const answer = await served.post(body, { headers });
        expect(answer.status).to.equal(status);
        expect(answer.headers.get('content-type')).to.equal('application/json; charset=utf-8');
        expect(answer.body.error).to.equal(error);
        // The id is echoed where it can be had: also of what is no JSON, or of the wrong type.
        if ('id' in row) expect(answer.body.id).to.match(uuid);
        else expect(answer.body.id).to.equal('incident-7');
        expect(served.connections).to.equal(0);
      });
    }

    it('makes one id for an action without one, and uses it in the answer and in every log line', async () => {
      const { id: _, ...anonymous } = cordon;
      const answer = await served.post({ ...anonymous, dryRun: true });
      expect(answer.body.id).to.match(uuid);
      served.use({
        connect: async () => {
          throw new FailoverError('paused', 'x');
        },
      });
      for (const id of [undefined, null, '']) {
        const { body } = await served.post({ ...anonymous, id });
        expect(body.id).to.match(uuid);
        const own = served.lines.slice(-3);
        expect(own.map(({ action_id }) => action_id)).to.deep.equal(own.map(() => body.id));
      }
    });
  });
});

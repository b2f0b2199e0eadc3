import { expect } from 'chai';
import { UpstreamError } from '../src/errors.ts';
import { cordon, fullName, json, ServedHandler } from './fixtures/served-handler.ts';

describe('createHandler', () => {
  const served = ServedHandler.forSuite();

  describe('logs', () => {
    beforeEach(() =>
      served.use({
        connect: async () => {
          throw new UpstreamError({
            api: 'Container API',
            call: 'GET c',
            status: 503,
            cause: { message: 'body' },
          });
        },
        projectId: 'ml-prod',
      }),
    );

    it('one line for each event, each with the id, the trace and the fields of the action', async () => {
      const headers = { ...json, 'X-Cloud-Trace-Context': '105445aa7843bc8bf206b12000100000/74;o=1' };
      await served.post({ ...cordon, dry_run: true, jobset_name: 'llm', node_name: 'gke-a-7' }, { headers });
      expect(served.lines.map(({ event, severity }) => [event, severity])).to.deep.equal([
        ['received', 'INFO'],
        ['step', 'WARNING'],
        ['failed', 'ERROR'],
      ]);
      for (const line of served.lines) {
        expect(line).to.deep.include({
          action_id: 'incident-7',
          'logging.googleapis.com/labels': { action_id: 'incident-7' },
          'logging.googleapis.com/trace': 'projects/ml-prod/traces/105445aa7843bc8bf206b12000100000',
          'logging.googleapis.com/spanId': '000000000000004a',
          requestor: 'alice@example.com',
          type: 'cordon_nodepool',
          dry_run: true,
          cluster: fullName,
          jobset: 'llm',
        });
      }
      expect(served.lines[0]).to.include({
        message: 'dry run of cordon_nodepool from alice@example.com: HBM errors',
        node_pool: 'pool-a',
        node_name: 'gke-a-7',
      });
      expect(served.lines[2]).to.include({ outcome: 'failed', code: 'upstream_failed', status: 502 });
      expect(served.lines[2]?.duration_ms).to.be.a('number');
      expect(served.lines[2]?.causes).to.deep.equal(['{"message":"body"}']);
    });

    const toToken = (email: string) =>
      `Bearer ${['{"alg":"RS256"}', JSON.stringify({ email }), 'signature']
        .map((part) => Buffer.from(part).toString('base64url'))
        .join('.')}`;

    it('the caller that IAM authenticated, besides the requestor that the body names', async () => {
      await served.post(cordon, {
        headers: { ...json, Authorization: toToken('bot@ml-prod.iam.gserviceaccount.com') },
      });
      expect(new Set(served.lines.map(({ caller }) => caller))).to.deep.equal(
        new Set(['bot@ml-prod.iam.gserviceaccount.com']),
      );
      expect(served.lines[0]?.requestor).to.equal('alice@example.com');
      expect(JSON.stringify(served.lines)).not.to.contain('Bearer');
    });

    // Where both are sent, IAM looks at X-Serverless-Authorization only, and lets anything through in the other one.
    it('the caller of X-Serverless-Authorization when both headers are sent, because IAM checks that one', async () => {
      const headers = {
        ...json,
        Authorization: toToken('somebody-else@example.com'),
        'X-Serverless-Authorization': toToken('mallory@example.com'),
      };
      await served.post(cordon, { headers });
      expect(served.lines[0]?.caller).to.equal('mallory@example.com');
      await served.post(cordon, { headers: { ...headers, 'X-Serverless-Authorization': 'Bearer opaque' } });
      expect(served.lines.at(-1)).not.to.have.property('caller');
    });

    it('a body that cannot be parsed as refused, with its code', async () => {
      await served.post('{', { headers: json });
      expect(served.lines).to.have.lengthOf(1);
      expect(served.lines[0]).to.include({
        severity: 'WARNING',
        event: 'refused',
        code: 'invalid_action',
        status: 400,
      });
    });
  });
});

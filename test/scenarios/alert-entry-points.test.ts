import { request as sendHttp } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { onEmulatedGke } from '../deploy/emulated-gke.ts';
import type { EmulatedGke } from '../deploy/emulated-gke.ts';
import { run } from '../deploy/run.ts';
import { createNotification, readCaptured, toPush } from '../fixtures/notification.ts';
import { whereTrainRuns } from '../fixtures/train-world.ts';
import { withoutHistory } from '../fixtures/without-history.ts';

const username = 'cloud-monitoring';
const password = 'correct-horse-battery-staple';
const webhook = {
  target: 'failoverWebhook',
  settings: { WEBHOOK_USERNAME: username, WEBHOOK_PASSWORD: password },
} as const;

function basic(user: string, secret: string): { authorization: string } {
  return { authorization: `Basic ${Buffer.from(`${user}:${secret}`).toString('base64')}` };
}

type LogLine = Record<string, unknown>;

function linesOf({ deployed }: EmulatedGke): LogLine[] {
  return deployed.lines().map((line) => JSON.parse(line) as LogLine);
}

/** The function writes its last line before it answers, but the pipe may be slower than the socket. */
async function lastLineOf(gke: EmulatedGke, matches: (line: LogLine) => boolean): Promise<LogLine> {
  // Almost as long as the test may take: only for a line that never comes does it matter how long.
  for (let tries = 0; tries < 5_000; tries++) {
    const found = linesOf(gke).findLast((line) => matches(line));
    if (found) return found;
    await delay(10);
  }
  throw new Error(`there is no such line in the log:\n${gke.deployed.lines().join('\n')}`);
}

const restartSliceA = (id: string) =>
  createNotification({
    id,
    startedAt: Date.now(),
    type: 'k8s_node_pool',
    resource: { node_pool_name: 'slice-a' },
    labels: { failover_action: 'cordon_nodepool_and_restart_jobset' },
  });

describe('failoverWebhook', function () {
  it('takes alerts with its Basic credentials, and nothing else at all', async () => {
    await onEmulatedGke(async (gke) => {
      const { post, cluster, emulator } = gke;
      const requests = emulator.requests.length;

      // Cloud Monitoring may first ask without credentials, to be told what is wanted: that is no error.
      const challenge = await post('/alerts', readCaptured('test'));
      expect(challenge.status).to.equal(401);
      expect(challenge.headers.get('www-authenticate')).to.equal(
        'Basic realm="autometric-failover", charset="UTF-8"',
      );
      expect(await challenge.json()).to.have.keys('id', 'error', 'code');
      const bare = await lastLineOf(gke, ({ code }) => code === 'unauthorized');
      expect(bare).to.include({ severity: 'INFO', event: 'ignored', outcome: 'ignored', status: 401 });

      for (const headers of [
        basic(username, 'wrong-horse-battery-staple'),
        basic(username, `${password}x`),
        basic(username, password.slice(1)),
        basic('somebody', password),
        basic('', ''),
        { authorization: `Basic ${username}:${password}` },
        { authorization: `Bearer ${Buffer.from(`${username}:${password}`).toString('base64')}` },
        { authorization: 'Basic' },
      ]) {
        const { status } = await post('/alerts', restartSliceA('0.stranger'), headers);
        expect(status, headers.authorization).to.equal(401);
      }
      const wrong = await lastLineOf(gke, ({ outcome }) => outcome === 'refused');
      expect(wrong).to.include({ severity: 'WARNING', code: 'unauthorized', status: 401 });

      const right = basic(username, password);
      const test = await post('/alerts', readCaptured('test'), right);
      expect(test.status).to.equal(200);
      expect(await test.json()).to.deep.equal({
        id: '12345',
        ignored: 'a test notification; the channel works',
      });
      for (const path of ['/', '/actions', '/alerts/x']) {
        const { status } = await post(
          path,
          { type: 'cordon_nodepool', requestor: 'r', reason: 'r', node_pool: 'slice-a' },
          right,
        );
        expect(status, path).to.equal(404);
      }
      const read = await fetch(`${gke.deployed.url}/alerts`, { headers: right });
      expect([read.status, read.headers.get('allow')]).to.deep.equal([405, 'POST']);
      expect(emulator.requests.length, 'requests to any API so far').to.equal(requests);

      const answer = await post('/alerts', restartSliceA('0.webhook'), right);
      expect(answer.status).to.equal(200);
      expect(await answer.json())
        .to.have.property('steps')
        .with.length(2);
      expect(cluster.nodes('slice-a').every(({ spec }) => spec.unschedulable)).to.equal(true);
      expect(gke.deployed.lines().join('\n')).not.to.include(password);
      expect(gke.deployed.lines().join('\n')).not.to.include(right.authorization.slice('Basic '.length));
    }, webhook);
  });

  // Each of the two and what is wrong with it: test/config.test.ts.
  for (const settings of [{}, { WEBHOOK_USERNAME: username, WEBHOOK_PASSWORD: '' }]) {
    it(`refuses to start with ${JSON.stringify(settings)}, because it would be open to everybody`, async () => {
      const { code, stdout } = await run(process.execPath, ['src/index.ts'], {
        env: {
          CLUSTERS: 'projects/demo-project/locations/us-central1/clusters/demo',
          FUNCTION_TARGET: 'failoverWebhook',
          WEBHOOK_USERNAME: undefined,
          WEBHOOK_PASSWORD: undefined,
          ...settings,
        },
      });
      expect(code).to.equal(1);
      expect(JSON.parse(stdout)).to.include({ severity: 'ERROR' });
      expect(stdout).to.match(/the function cannot start: .*WEBHOOK_(USERNAME|PASSWORD)/);
    });
  }
});

/** What Cloud Run hands over of an OIDC token: its signature has been checked and taken off. */
function createStrippedToken(email: string): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = {
    aud: 'https://autometric-failover-abc-uc.a.run.app',
    azp: '104711811223344556677',
    email,
    email_verified: true,
    iss: 'https://accounts.google.com',
    sub: '104711811223344556677',
  };
  return `${part({ alg: 'RS256', kid: 'k', typ: 'JWT' })}.${part(claims)}.SIGNATURE_REMOVED_BY_GOOGLE`;
}

const pushAccount = 'failover-push@demo-project.iam.gserviceaccount.com';
const traceId = '105445aa7843bc8bf206b12000100000';

/** Sends what Pub/Sub sends and Cloud Run hands on, byte for byte as far as it is known. */
async function pushAsPubSub(
  url: string,
  body: object,
): Promise<{ status: number | undefined; body: Record<string, unknown> }> {
  const text = JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const request = sendHttp(`${url}/alerts`, {
      method: 'POST',
      headers: {
        Host: 'autometric-failover-abc-uc.a.run.app',
        'Content-Type': 'application/json',
        'Content-Length': Buffer.byteLength(text),
        Accept: 'application/json',
        'Accept-Encoding': 'gzip, deflate, br',
        From: 'noreply@google.com',
        'User-Agent': 'APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)',
        Authorization: `Bearer ${createStrippedToken(pushAccount)}`,
        Forwarded: 'for="66.102.6.160";proto=https',
        'X-Forwarded-For': '66.102.6.160',
        'X-Forwarded-Proto': 'https',
        'X-Cloud-Trace-Context': `${traceId}/5;o=1`,
        traceparent: `00-${traceId}-0000000000000005-01`,
      },
    });
    request.on('error', reject);
    request.on('response', (response) => {
      let answer = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk));
      response.on('end', () => {
        resolve({ status: response.statusCode, body: JSON.parse(answer) as Record<string, unknown> });
      });
    });
    request.end(text);
  });
}

describe('failover', function () {
  it('carries out once a Pub/Sub push that arrives ten times at once, and logs caller and requestor apart', async () => {
    await onEmulatedGke(async (gke) => {
      const { cluster, deployed, emulator } = gke;
      const envelope = toPush(restartSliceA('0.pushed'), { publishedAt: Date.now() });
      // F-7: the same request many times at once is done once and answered equally.
      /** Pub/Sub delivers again what has waited for another delivery for ten seconds. */
      const pushUntilDone = async (): ReturnType<typeof pushAsPubSub> => {
        const answer = await pushAsPubSub(deployed.url, envelope);
        return answer.body['code'] === 'action_in_progress' ? pushUntilDone() : answer;
      };
      const answers = await Promise.all(Array.from({ length: 10 }, () => pushUntilDone()));
      const bodies = answers.map(({ body }) => withoutHistory(body));
      for (const body of bodies) expect(body).to.deep.equal(bodies[0]);
      expect(answers.filter(({ body }) => (body as { replayed?: boolean }).replayed)).to.have.length(
        answers.length - 1,
      );
      expect(answers[0]?.status).to.equal(200);
      expect(answers[0]?.body).to.have.property('id', '0.pushed');
      const writes = emulator.writes();
      expect(
        writes.filter(({ method, path }) => method === 'PATCH' && path.includes('/nodes/')),
      ).to.have.length(16);
      expect(
        writes.filter(({ method, path }) => method === 'DELETE' && path.includes('/pods/')),
      ).to.have.length(1);

      const done = await lastLineOf(gke, ({ outcome }) => outcome === 'done');
      expect(done).to.deep.include({
        action_id: '0.pushed',
        'logging.googleapis.com/labels': { action_id: '0.pushed', ...executionIdOf(done) },
        'logging.googleapis.com/trace': `projects/demo-project/traces/${traceId}`,
        type: 'cordon_nodepool_and_restart_jobset',
        requestor: 'constructed policy',
        caller: pushAccount,
        status: 200,
      });
      emulator.settle();
      expect(whereTrainRuns(cluster)).to.deep.equal(['slice-b #1']);
    });
  });

  it('acknowledges a final refusal to Pub/Sub, and answers other callers with its status', async () => {
    await onEmulatedGke(async (gke) => {
      const { deployed, post } = gke;
      const unknown = createNotification({
        id: '0.unknown',
        startedAt: Date.now(),
        resource: { node_name: 'gke-gone' },
      });
      const pushed = await pushAsPubSub(deployed.url, toPush(unknown, { publishedAt: Date.now() }));
      expect(pushed).to.deep.equal({
        status: 200,
        body: { id: '0.unknown', error: 'there is no node gke-gone', code: 'target_not_found' },
      });
      expect(await lastLineOf(gke, ({ outcome }) => outcome === 'refused')).to.include({
        severity: 'ERROR',
        status: 200,
      });
      const bare = await post('/alerts', unknown);
      expect([bare.status, await bare.json()]).to.deep.equal([404, pushed.body]);
    });
  });
});

/** functions-framework adds its own label where it is told to. */
function executionIdOf(line: LogLine): object {
  const labels = line['logging.googleapis.com/labels'] as Record<string, string>;
  return labels['execution_id'] === undefined ? {} : { execution_id: labels['execution_id'] };
}

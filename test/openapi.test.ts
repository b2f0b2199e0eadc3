import { Validator } from '@seriousme/openapi-schema-validator';
import { expect } from 'chai';
import type { Request } from '@google-cloud/functions-framework';
import { faults, labelWays, repairWays } from '../src/action-type.ts';
import { codes, FailoverError, UpstreamError } from '../src/errors.ts';
import { restartWays } from '../src/plan.ts';
import { assertRoute } from '../src/request/route.ts';
import type { FunctionName } from '../src/request/route.ts';
import { verdicts } from '../src/verdict.ts';
import { expectInternalError } from './fixtures/internal-errors.ts';
import { addCronJob, cronJobName, setLabel, testLabel } from './fixtures/acceptance.ts';
import { createNotification, toPush } from './fixtures/notification.ts';
import { OpenApi, findValues, openapiPath } from './fixtures/openapi.ts';
import { ServedHandler } from './fixtures/served-handler.ts';
import { StatusWorld } from './fixtures/status-world.ts';
import type { Json } from './fixtures/status-world.ts';
import { reservation } from './fixtures/gpu-world.ts';
import { nodeNames } from './fixtures/train-world.ts';

const who = { requestor: 'alice', reason: 'ECC errors' };
const cordon = { ...who, id: 'c', type: 'cordon_nodepool', node_pool: 'slice-a' };
const restart = { ...cordon, id: 'a', type: 'cordon_nodepool_and_restart_jobset', jobset_name: 'train' };
const repair = { ...cordon, id: 'r', type: 'repair_nodepool' };
const uncordon = { ...cordon, id: 'u', type: 'uncordon_nodepool' };
const annotation = 'autometric-failover/';

const alert = (options: object) => createNotification({ startedAt: Date.now(), ...options });
const alertOfSlice = {
  labels: { failover_action: 'cordon_nodepool' },
  type: 'k8s_node_pool',
  resource: { node_pool_name: 'slice-a' },
};
const alertSettings = { ALERT_ACTIONS: 'cordon_nodepool,repair_nodepool' };
const form = { 'Content-Type': 'application/x-www-form-urlencoded' };

const jsonHeaders = new Headers({
  'content-type': 'application/json',
  'cache-control': 'no-store',
  vary: 'Accept',
});

const byLabel = {
  reboot: { repair: 'reboot' },
  maintenance: { repair: 'maintenance' },
  report: { repair: 'report_faulty_host', fault: 'xid' },
};

const openapi = new OpenApi();

describe('docs/openapi.yaml', () => {
  const served = ServedHandler.forSuite();
  let world: StatusWorld;
  /** What `code`, `outcome`, `verdict`, `state` and so on have been, in all answers. */
  const reached = new Set<string>();
  const names = ['code', 'outcome', 'verdict', 'state', 'step', 'way', 'deleted_by', 'replaces'];

  beforeEach(() => open());

  function open(options: ConstructorParameters<typeof StatusWorld>[1] = {}): void {
    world = new StatusWorld(served, options);
    world.onAnswer = (seen) => {
      expect(openapi.check(seen), `${seen.method} ${seen.path}`).to.deep.equal([]);
      for (const value of findValues(seen.body, names)) reached.add(value);
    };
  }

  /** The code of the answer to an action. */
  async function codeOf(body: Json, path?: string): Promise<unknown> {
    return (await world.post(body, path)).body['code'];
  }

  async function stepsOf(body: Json): Promise<Json[]> {
    const { status, body: answer } = await world.post(body);
    expect(status, JSON.stringify(answer)).to.equal(200);
    return answer['steps'] as Json[];
  }

  async function outcomeOf(body: Json): Promise<unknown> {
    return (await stepsOf(body)).at(-1)?.['outcome'];
  }

  /** What a reconcile finds so many seconds later, and what the function then shows of it. */
  async function verdictOf(
    id: string,
    seconds: number,
    settings: Record<string, string> = {},
  ): Promise<unknown> {
    world.pass(seconds);
    world.use(settings);
    await world.post({}, '/reconcile');
    await world.get('/actions');
    return ((await world.get(`/actions/${id}`)).body['verdict'] as Json | undefined)?.['verdict'];
  }

  it('is a valid OpenAPI document', async () => {
    const validator = new Validator();
    const { valid, errors } = await validator.validate(openapiPath);
    expect(errors).to.equal(undefined);
    expect(valid).to.equal(true);
    expect(validator.version).to.equal('3.1');
  });

  it('says which function serves which operation, and which none does', () => {
    const functions: FunctionName[] = ['failover', 'failoverWebhook', 'failoverStatus'];
    const paths = [...Object.keys(openapi.document.paths), '/nothing'];
    for (const name of functions) {
      for (const path of paths) {
        for (const method of ['GET', 'POST', 'PUT']) {
          const request = { method, path: path.replace('{id}', 'x') } as Request;
          const operation = openapi.document.paths[path]?.[method.toLowerCase()];
          const isServed = operation?.['x-functions'].includes(name) ?? false;
          const admit = () => assertRoute(request, name);
          if (isServed) expect(admit, `${name} ${method} ${path}`).not.to.throw();
          else expect(admit, `${name} ${method} ${path}`).to.throw(FailoverError);
        }
      }
    }
  });

  describe('of actions', () => {
    it('knows a dry run of each type, and what it does', async () => {
      for (const action of [restart, cordon, repair, uncordon]) {
        const dry = { ...action, id: `dry-${action.id}`, dry_run: true };
        expect(openapi.checkRequest('/actions', 'post', dry)).to.deep.equal([]);
        await stepsOf(dry);
      }
      expect(await outcomeOf(restart)).to.equal('restarted');
      // The replay.
      await stepsOf(restart);
      world.emulator.settle();
      await world.get('/actions/a');
      await stepsOf(repair);
      await world.get('/actions/r');
      await stepsOf(uncordon);
    });

    it('knows the question by POST, and the action on /', async () => {
      for (const body of [
        { ...cordon },
        { type: 'get_action', id: 'c' },
        { type: 'list_actions', limit: 1 },
      ]) {
        expect(openapi.checkRequest('/', 'post', body)).to.deep.equal([]);
        expect((await world.post(body, '/')).status).to.equal(200);
      }
    });

    it('refuses the fields that the function refuses', () => {
      expect(openapi.checkRequest('/actions', 'post', { ...cordon, dryRun: true })).not.to.deep.equal([]);
      expect(openapi.checkRequest('/actions', 'post', { ...cordon, dry_run: 'true' })).not.to.deep.equal([]);
    });

    it('knows a limit of a dry run', async () => {
      await stepsOf(uncordon);
      world.annotate('cluster', { [`${annotation}paused`]: 'INC-42' });
      expect((await stepsOf({ ...cordon, id: 'dry', dry_run: true }))[0]).to.include({ step: 'limits' });
      expect(await codeOf(cordon)).to.equal('paused');
    });

    it('knows the nodes that an uncordon keeps', async () => {
      await stepsOf(cordon);
      const [first = ''] = nodeNames(world.cluster, 'slice-a');
      world.cluster.cordonAs('kubectl', first, false);
      world.cluster.cordonAs('kubectl', first, true);
      expect((await stepsOf(uncordon))[0]).to.include({ kept: 1 });
    });

    it('knows a restart of a run that has left the pool', async () => {
      await stepsOf(restart);
      world.pass(5);
      world.use({ COOLDOWN_SECONDS: '0' });
      expect(await outcomeOf({ ...restart, id: 'b' })).to.equal('not_on_pool');
      await world.get('/actions/b');
    });

    it('knows a restart of a run that is deleted meanwhile', async () => {
      world.once(/PATCH .*nodes/, () => world.cluster.remove('jobsets', 'default', 'train'));
      expect(await outcomeOf(restart)).to.equal('jobset_gone');
    });

    it('knows restarts of the same attempt', async () => {
      open({ slices: ['slice-a', 'slice-b', 'slice-c'], jobs: [{ replicas: 2 }] });
      await stepsOf(restart);
      const again = { ...restart, id: 'b', node_pool: 'slice-b' };
      expect(await outcomeOf(again)).to.equal('already_restarted');
    });

    it('knows a restart that has begun by itself', async () => {
      world.cluster.finishPod('default', String(world.cluster.pods('default')[0]?.metadata.name), 'Failed');
      world.emulator.settle();
      const [job] = world.cluster.jobs('default');
      world.cluster.change('jobs', 'default', String(job?.metadata.name), ({ status }) => {
        status.conditions = [{ type: 'FailureTarget', status: 'True' }];
      });
      expect(await outcomeOf(restart)).to.equal('already_restarting');
    });

    it('knows a Job that is failed by its deadline', async () => {
      open({ jobs: [{ podReplacementPolicy: 'TerminatingOrFailed', backoffLimit: 3 }] });
      expect((await stepsOf(restart)).at(-1)).to.include({ way: 'job_deadline' });
    });

    it('knows machines that are being made, or are another one by now', async () => {
      const [first = '', second = ''] = nodeNames(world.cluster, 'slice-a');
      world.emulator.faults.add({
        api: 'compute',
        method: 'DELETE',
        effect: {
          status: 400,
          body: JSON.stringify({ error: { errors: [{ reason: 'resourceNotReady' }] } }),
        },
      });
      expect(await outcomeOf({ ...repair, node_name: first })).to.equal('already_repairing');
      world.emulator.faults.add({
        api: 'compute',
        method: 'DELETE',
        match: () => Boolean(world.cluster.replaceInstance(second, 'survives')),
        effect: 'none',
      });
      world.use({ COOLDOWN_SECONDS: '0' });
      expect(await outcomeOf({ ...repair, id: 'r2', node_name: second })).to.equal('already_gone');
    });

    it('knows a machine that is deleted by its name, alone in its pool', async () => {
      world.cluster.addTpuSlice('single', { topology: '2x2' });
      world.emulator.faults.add({
        api: 'compute',
        path: /instances\/[0-9]+(\?|$)/,
        times: Infinity,
        effect: { status: 403 },
      });
      const [node = ''] = nodeNames(world.cluster, 'single');
      const [step] = await stepsOf({ ...repair, node_pool: 'single', node_name: node });
      expect(step).to.include({ deleted_by: 'name', replaces: 'this machine' });
    });

    it('knows what another action left unfinished, and what is resumed', async () => {
      world.emulator.faults.add({
        method: 'PATCH',
        path: /nodes/,
        times: Infinity,
        effect: { status: 403 },
      });
      await world.post(cordon);
      expect((await world.get('/actions/c')).body).to.include({ state: 'stopped' });
      world.emulator.faults.clear();
      expect((await stepsOf({ ...cordon, id: 'c2' }))[0]).to.include({ step: 'notice' });
      expect((await world.post(cordon)).body).to.include({ resumed: true });
    });

    it('knows a run whose own policy would end it', async () => {
      open({ jobSet: { failurePolicy: null } });
      expect((await stepsOf({ ...restart, dry_run: true })).at(-1)).to.include({ way: 'jobs_recreated' });
      expect((await stepsOf(restart)).at(-1)).to.include({ way: 'jobs_recreated', jobs: 1 });
      await world.get('/actions/a');
    });

    it('knows a run that Kueue manages', async () => {
      world.cluster.change('jobsets', 'default', 'train', ({ metadata }) => {
        metadata.labels = { ...metadata.labels, 'kueue.x-k8s.io/queue-name': 'team-a' };
      });
      expect((await stepsOf(restart)).at(-1)?.['queue']).to.include({ name: 'team-a', admitted: true });
      await world.get('/actions/a');
    });

    for (const [outcome, work] of Object.entries({
      gke_is_repairing: () => world.cluster.switches.operateOn('slice-a', 'AUTO_REPAIR_NODES'),
      node_leaving: () => world.cluster.switches.deletePool('slice-a'),
      under_maintenance: () => world.cluster.switches.maintainHost('slice-a'),
    })) {
      it(`knows a repair that is left to GKE (${outcome})`, async () => {
        work();
        expect(await outcomeOf({ ...repair, dry_run: true })).to.equal(outcome);
        expect(await outcomeOf(repair)).to.equal(outcome);
        await world.get('/actions/r');
        await world.get('/status');
      });
    }

    it('knows a cordon while GKE is at work', async () => {
      world.cluster.switches.maintainHost('slice-a');
      expect((await stepsOf({ ...cordon, dry_run: true }))[0]).to.have.property('warning');
      expect((await stepsOf(cordon))[0]).to.have.property('warning');
    });

    it('knows that GKE changes the pool, in a dry run and live', async () => {
      world.cluster.switches.upgradePool('slice-a');
      expect((await stepsOf({ ...repair, dry_run: true }))[0]).to.include({ code: 'pool_busy' });
      expect(await codeOf(repair)).to.equal('pool_busy');
    });

    for (const [what, way] of Object.entries(byLabel)) {
      it(`knows a repair that a label asks for (${what})`, async () => {
        const [node = ''] = addGpus();
        world.cluster.switches.announceMaintenance('gpu-a');
        const action = { ...repair, node_pool: 'gpu-a', node_name: node, ...way };
        expect(openapi.checkRequest('/actions', 'post', action)).to.deep.equal([]);
        expect(await outcomeOf({ ...action, dry_run: true })).to.equal(`would_${way.repair}`);
        expect(await outcomeOf(action)).to.equal(`${what}_requested`);
        await world.get('/actions/r');
      });
    }

    // F-273: it was resumed without the way, and refused.
    it('knows a label that was set although nobody heard of it, and what carries it on', async () => {
      const [node = ''] = addGpus();
      const fault = { method: 'PATCH', path: /nodes/, times: Infinity, effect: 'reset_after' as const };
      world.emulator.faults.add(fault);
      const action = { ...repair, node_pool: 'gpu-a', node_name: node, ...byLabel.report };
      expect(await codeOf(action)).to.equal('upstream_failed');
      world.emulator.faults.clear();
      const { body } = await world.get('/actions/r');
      expect(body).to.include({ state: 'stopped' });
      expect(body['request']).to.include(byLabel.report);
      expect((await stepsOf(body['request'] as Json)).at(-1)).to.include({ outcome: 'already_requested' });
    });

    it('knows an action at each of its moments', async () => {
      const look = async () => {
        for (const path of ['/actions/a', '/actions', '/status']) await world.get(path);
        world.use();
      };
      world.once(/GET .*jobsets/, look);
      world.once(/PATCH .*nodes/, look);
      world.once(/DELETE .*pods/, look);
      await stepsOf(restart);
      await look();
      world.cluster.change('leases', 'autometric-failover-system', recordOf('a'), ({ metadata }) => {
        metadata.annotations = { ...metadata.annotations, [`${annotation}phase`]: 'odd' };
      });
      expect((await world.get('/actions/a')).body).to.include({ state: 'broken' });
    });
  });

  describe('of refusals', () => {
    const rows: [code: string, act: () => Promise<unknown>][] = [
      ['invalid_action', () => codeOf({ ...cordon, typo: 1 })],
      ['forbidden', () => codeOf({ ...restart, namespace: 'research' })],
      ['target_not_found', () => codeOf({ ...cordon, node_pool: 'slice-x' })],
      ['target_mismatch', () => codeOf({ ...restart, node_pool: 'slice-b' })],
      ['repair_refused', () => codeOf({ ...repair, node_name: breakProviderId() })],
      ['preflight_refused', () => codeOf({ ...cordon, ...shrink() })],
      ['restart_refused', () => codeOf(suspend())],
      ['payload_too_large', () => codeOf({ ...cordon, reason: 'x'.repeat(300_000) })],
      ['unsupported_media_type', async () => (await world.post('a=b', '/actions', form)).body['code']],
      ['method_not_allowed', async () => (await world.ask('DELETE', '/actions')).body['code']],
      ['target_not_found', async () => (await world.ask('GET', '/nothing')).body['code']],
      [
        'id_reused',
        async () => {
          await world.post(cordon);
          return codeOf({ ...cordon, node_pool: 'slice-b' });
        },
      ],
      [
        'rate_limited',
        async () => {
          await world.post(repair);
          return codeOf({ ...repair, id: 'r2' });
        },
      ],
      [
        'budget_exceeded',
        async () => {
          world.use({ MAX_POOLS_PER_HOUR: '1' });
          await world.post(cordon);
          return codeOf({ ...cordon, id: 'c2', node_pool: 'slice-b' });
        },
      ],
      [
        'correlated_failure',
        async () => {
          world.cluster.addTpuSlice('slice-c', { topology: '4x4' });
          for (const pool of ['slice-a', 'slice-b']) {
            for (const name of nodeNames(world.cluster, pool)) world.cluster.killNode(name);
          }
          return codeOf(repair);
        },
      ],
      [
        'attempts_exhausted',
        async () => {
          world.use({ MAX_ATTEMPTS_PER_DAY: '1', COOLDOWN_SECONDS: '0' });
          await world.post(repair);
          world.pass(300);
          return codeOf({ ...repair, id: 'r2' });
        },
      ],
      [
        'target_changed',
        async () => {
          const [first = ''] = nodeNames(world.cluster, 'slice-a');
          world.once(/PATCH .*\/nodes\//, () => {
            world.once(/GET .*\/nodes\?.*unschedulable/, () =>
              world.cluster.cordonAs('kubectl', first, false),
            );
          });
          return codeOf(restart);
        },
      ],
      ['target_ambiguous', () => codeOf({ ...restart, node_pool: null, ...stopRun() })],
    ];
    for (const [code, act] of rows) {
      it(`knows ${code}`, async () => {
        expect(await act()).to.equal(code);
      });
    }
  });

  describe('of what goes wrong before a cluster is read', () => {
    const failures = {
      500: new Error('a bug'),
      502: new UpstreamError({ api: 'Container API', call: 'GET the cluster', status: 403 }),
      504: new UpstreamError({ api: 'Container API', call: 'GET the cluster', isTimeout: true }),
    };
    for (const [status, error] of Object.entries(failures)) {
      it(`knows ${status}`, async () => {
        if (status === '500') expectInternalError();
        world.use(alertSettings, { connect: () => Promise.reject(error) });
        const answers = [
          await world.post(cordon),
          await world.post(cordon, '/'),
          await world.post(alert(alertOfSlice), '/alerts'),
          await world.get('/actions/c'),
        ];
        expect(answers.map((answer) => answer.status)).to.deep.equal(Array(4).fill(Number(status)));
        expect((await world.get('/status')).status).to.equal(200);
        expect((await world.get('/actions')).body['errors']).to.have.length(1);
        expect((await world.post({}, '/reconcile')).status).to.equal(502);
      });
    }

    it('knows bodies and queries that are none', async () => {
      for (const path of ['/', '/actions', '/alerts']) {
        expect((await world.post('x'.repeat(300_000), path)).status).to.equal(413);
        expect((await world.post('a=b', path, form)).status).to.equal(415);
        expect((await world.post({}, `${path}?dry_run=true`)).status).to.equal(400);
      }
      expect((await world.post({}, '/reconcile?dry_run=true')).status).to.equal(400);
      for (const path of ['/', '/actions', '/status', '/actions/c']) {
        expect((await world.get(`${path}?colour=red`)).status).to.equal(400);
        expect((await world.get(`${path}?cluster=other`)).status).to.equal(404);
        expect((await world.get(`${path}?cluster=projects/p/locations/l/clusters/c`)).status).to.equal(403);
      }
      expect((await world.get('/actions/nope')).status).to.equal(404);
    });

    it('knows the pages of a browser, and refuses what other pages send', async () => {
      await world.post(cordon);
      for (const path of ['/', '/actions', '/actions/c']) {
        const { status, headers } = await world.get(path, { Accept: 'text/html' });
        expect(status).to.equal(200);
        expect(headers.get('content-type')).to.match(/^text\/html/);
      }
      const fromPage = { 'Content-Type': 'application/json', Origin: 'https://example.com' };
      expect((await world.post(cordon, '/actions', fromPage)).status).to.equal(403);
    });

    it('knows that failoverStatus only shows', async () => {
      world.use({}, { name: 'failoverStatus' });
      expect(await codeOf(cordon, '/')).to.equal('forbidden');
      expect((await world.get('/')).status).to.equal(200);
    });

    it('knows an action on / that is refused', async () => {
      world.use({ MAX_POOLS_PER_HOUR: '1' });
      expect(await codeOf({ ...cordon, node_pool: 'slice-x' }, '/')).to.equal('target_not_found');
      expect((await world.post(cordon, '/')).status).to.equal(200);
      expect(await codeOf({ ...cordon, node_name: nodeNames(world.cluster, 'slice-b')[0] }, '/')).to.equal(
        'id_reused',
      );
      expect(await codeOf({ ...cordon, id: 'c2', node_pool: 'slice-b' }, '/')).to.equal('budget_exceeded');
    });
  });

  describe('of alerts', () => {
    beforeEach(() => world.use({ ...alertSettings, MAX_POOLS_PER_HOUR: '1' }));

    it('knows what is done, what is ignored, and what a push is told', async () => {
      expect((await world.post(alert(alertOfSlice), '/alerts')).body).to.have.property('steps');
      expect((await world.post(alert({ id: '0.x', labels: {} }), '/alerts')).body).to.have.property(
        'ignored',
      );
      const other = alert({ ...alertOfSlice, id: '0.y', resource: { node_pool_name: 'slice-b' } });
      expect((await world.post(other, '/alerts')).status).to.equal(429);
      const push = await world.post(toPush(other, { publishedAt: Date.now() }), '/alerts');
      expect(push.status).to.equal(200);
      expect(push.body).to.include({ code: 'budget_exceeded' });
    });

    it('knows refusals', async () => {
      const nowhere = { ...alertOfSlice, resource: { node_pool_name: 'slice-x' } };
      expect((await world.post(alert(nowhere), '/alerts')).status).to.equal(404);
      const forbidden = { ...alertOfSlice, labels: { failover_action: 'uncordon_nodepool' } };
      expect((await world.post(alert({ ...forbidden, id: '0.f' }), '/alerts')).status).to.equal(403);
      world.annotate('cluster', { [`${annotation}paused`]: 'INC-42', [`${annotation}paused-by`]: 'bob' });
      expect((await world.post(alert({ ...alertOfSlice, id: '0.p' }), '/alerts')).status).to.equal(409);
      await world.get('/actions');
      await world.get('/status');
    });

    it('knows the webhook without credentials', async () => {
      world.use(
        {},
        { name: 'failoverWebhook', webhook: { username: 'hook', password: 'a-long-enough-one' } },
      );
      expect((await world.post(alert(alertOfSlice), '/alerts')).status).to.equal(401);
    });
  });

  describe('of what became of actions', () => {
    it('knows a run that is back', async () => {
      await stepsOf(restart);
      expect(await verdictOf('a', 5)).to.equal('recovered');
    });

    it('knows a run that is not, and what follows', async () => {
      world.cluster.switches.fillPool('slice-b');
      await stepsOf({ ...restart, on_failure: 'cordon_and_repair_nodepool', uncordon_when_repaired: true });
      world.once(/DELETE .*instances/, () => world.get('/actions/a'));
      expect(await verdictOf('a', 1201)).to.equal('not_recovered');
      await world.get('/actions/a.on-failure');
    });

    it('knows what must not follow, and what need not', async () => {
      world.cluster.switches.fillPool('slice-b');
      await stepsOf({ ...restart, on_failure: 'repair_nodepool' });
      await verdictOf('a', 1201, { ALLOWED_ACTIONS: 'cordon_nodepool_and_restart_jobset' });
      open();
      world.cluster.switches.fillPool('slice-b');
      await stepsOf({ ...restart, on_failure: 'repair_nodepool' });
      world.once(/POST .*events$/, () => {
        world.cluster.addTpuSlice('slice-c', { topology: '4x4' });
        world.emulator.settle();
      });
      await verdictOf('a', 1201);
    });

    it('knows a run that is gone', async () => {
      await stepsOf(restart);
      world.cluster.remove('jobsets', 'default', 'train');
      expect(await verdictOf('a', 5)).to.equal('run_ended');
    });

    it('knows a machine that is back, on the same host or another', async () => {
      await stepsOf({ ...repair, uncordon_when_repaired: true });
      expect(await verdictOf('r', 600)).to.equal('repaired');
    });

    it('knows the test of a repaired pool, and how it ends', async () => {
      addCronJob(world);
      await stepsOf({ ...repair, uncordon_when_repaired: true, accept: cronJobName });
      world.pass(600);
      await world.post({}, '/reconcile');
      expect((await world.get('/actions/r')).body['acceptance']).to.include({ test: cronJobName });
      expect(await verdictOf('r', 4_000)).to.equal('not_accepted');
      open();
      await stepsOf({ ...repair, uncordon_when_repaired: true, accept: testLabel });
      world.pass(600);
      await world.post({}, '/reconcile');
      for (const node of nodeNames(world.cluster, 'slice-a')) setLabel(world, node, 'passed');
      expect(await verdictOf('r', 60)).to.equal('repaired');
      expect((await world.get('/actions/r')).body['acceptance']).to.include.keys('since', 'passed_at');
    });

    it('knows a machine that is not', async () => {
      world.cluster.switches.withholdMachines('slice-a');
      await stepsOf(repair);
      expect(await verdictOf('r', 4_000)).to.equal('not_repaired');
    });

    for (const verdict of ['reported', 'report_failed', 'not_reported']) {
      it(`knows what became of the report of a host (${verdict})`, async () => {
        const [node = ''] = addGpus();
        if (verdict === 'report_failed') world.cluster.switches.failReports('gpu-a');
        if (verdict === 'not_reported') world.cluster.switches.ignoreLabels('gpu-a');
        await stepsOf({ ...repair, node_pool: 'gpu-a', node_name: node, ...byLabel.report });
        world.pass(60);
        world.pass(900);
        expect(await verdictOf('r', 2000)).to.equal(verdict);
      });
    }

    it('knows an action that nobody carried on', async () => {
      world.emulator.faults.add({ method: 'PATCH', path: /nodes/, times: Infinity, effect: { status: 403 } });
      await world.post(cordon);
      expect(await verdictOf('c', 90_000)).to.equal('abandoned');
    });
  });

  describe('of approvals', () => {
    const waiting = { ...restart, approval: 'required' };
    const as = (email: string) => {
      const claims = Buffer.from(JSON.stringify({ email })).toString('base64url');
      return { 'Content-Type': 'application/json', authorization: `Bearer e30.${claims}.x` };
    };

    /** Asks for a restart that waits for its approval. @returns the line that approves it */
    async function askFor(path: string, id = 'a'): Promise<Json> {
      const { status, body } = await world.post({ ...waiting, id }, path, as('alice@example.com'));
      expect(status, JSON.stringify(body)).to.equal(202);
      const { approve } = body['awaiting_approval'] as { approve: Json };
      expect(openapi.checkRequest('/actions', 'post', approve)).to.deep.equal([]);
      return approve;
    }

    for (const path of ['/', '/actions']) {
      it(`knows a plan that waits, and its approval, at ${path}`, async () => {
        const approve = await askFor(path);
        await world.get('/actions/a');
        await world.get('/actions?state=awaiting_approval');
        const { status } = await world.post(approve, path, as('bob@example.com'));
        expect(status).to.equal(200);
        expect((await world.get('/actions/a')).body['approval']).to.include({
          approved_by: 'bob@example.com',
        });
        expect((await world.post(approve, path, as('bob@example.com'))).body).to.include({ replayed: true });
      });

      it(`knows a rejection at ${path}`, async () => {
        const approve = await askFor(path);
        expect((await world.post(approve, path, as('alice@example.com'))).status).to.equal(403);
        const reject = { ...approve, type: 'reject', reason: 'not now' };
        expect(openapi.checkRequest('/actions', 'post', reject)).to.deep.equal([]);
        expect((await world.post(reject, path)).body).to.have.property('verdict');
        expect((await world.post(approve, path, as('bob@example.com'))).body).to.include({
          code: 'approval_refused',
        });
        await world.get('/actions/a');
      });
    }

    it('knows a plan that nobody approves in time, before and after it is settled', async () => {
      const approve = await askFor('/actions');
      world.pass(1801);
      for (const address of ['/actions/a', '/actions']) await world.get(address);
      expect((await world.get('/actions/a')).body).to.deep.include({ state: 'settled' });
      expect(await verdictOf('a', 1)).to.equal('expired');
      expect((await world.post(approve, '/actions', as('bob@example.com'))).status).to.equal(409);
    });

    it('knows the plan of an alert that waits, and one whose incident has closed', async () => {
      const labels = { ...alertOfSlice.labels, failover_approval: 'required' };
      const opened = { ...alertOfSlice, id: '0.i', labels };
      const { status, body } = await world.post(alert(opened), '/alerts');
      expect(status).to.equal(202);
      await world.post(alert({ ...opened, state: 'closed' }), '/alerts');
      const { approve } = body['awaiting_approval'] as { approve: Json };
      expect((await world.post(approve, '/', as('bob@example.com'))).body).to.have.property('ignored');
    });
  });

  describe('as a whole', () => {
    it('has no answer that no test reaches', () => {
      expect(openapi.answers().filter((answer) => !openapi.reached.has(answer))).to.deep.equal([]);
    });

    it('has no value that no test reaches', () => {
      expect(openapi.enumerated(names).filter((value) => !reached.has(value))).to.deep.equal([]);
    });

    // F-274: new ones were missing.
    it('has every code, verdict and way that the source has', () => {
      const { schemas = {} } = openapi.document.components;
      const listed = (schema: string, field?: string) => {
        const found = schemas[schema] as {
          enum?: unknown[];
          properties?: Record<string, { enum?: unknown[] }>;
        };
        return (field === undefined ? found.enum : found.properties?.[field]?.enum) ?? [];
      };
      expect(listed('Code')).to.have.members(codes);
      expect(listed('VerdictName')).to.have.members([...verdicts]);
      expect(listed('RestartStep', 'way')).to.have.members([...restartWays]);
      expect(listed('RestartPlan', 'way')).to.have.members([...restartWays]);
      for (const [schema, all] of [
        ['Action', [...repairWays, '', null]],
        ['RepairStep', labelWays],
        ['RepairPlan', labelWays],
      ] as const) {
        expect(listed(schema, 'repair'), schema).to.have.members([...all]);
      }
      expect(listed('Action', 'fault')).to.have.members([...faults, '', null]);
      for (const schema of ['RepairStep', 'RepairPlan']) {
        expect(listed(schema, 'fault'), schema).to.have.members([...faults]);
      }
    });

    it('does not let a new field pass', () => {
      const seen = { method: 'GET', path: '/status', status: 200, headers: jsonHeaders };
      const cluster = { cluster: 'c', error: 'e' };
      expect(openapi.check({ ...seen, body: { clusters: [cluster] } })).to.deep.equal([]);
      expect(openapi.check({ ...seen, body: { clusters: [{ ...cluster, news: 1 }] } })).to.have.length(1);
      expect(openapi.check({ ...seen, body: { clusters: [], news: 1 } })).to.have.length(1);
      const bare = new Headers({ 'content-type': 'application/json' });
      expect(openapi.check({ ...seen, headers: bare, body: { clusters: [] } })).to.have.length(2);
      expect(openapi.check({ ...seen, status: 418, body: { clusters: [] } })).to.have.length(1);
    });
  });

  function recordOf(id: string): string {
    const leases = world.cluster.leases('autometric-failover-system');
    const found = leases.find(({ metadata }) => metadata.annotations?.[`${annotation}id`] === id);
    return found?.metadata.name ?? '';
  }

  function addGpus(): string[] {
    return world.cluster.addPool('gpu-a', { gpu: true, labels: reservation });
  }

  function breakProviderId(): string {
    const [first = ''] = nodeNames(world.cluster, 'slice-a');
    world.cluster.change('nodes', undefined, first, ({ spec }) => (spec.providerID = 'gce://x'));
    return first;
  }

  function shrink(): Json {
    world.cluster.removeNode(nodeNames(world.cluster, 'slice-a')[0] ?? '');
    return { preflight_checks: { expected_node_counts: true } };
  }

  function suspend(): Json {
    world.cluster.change('jobsets', 'default', 'train', ({ spec }) => (spec.suspend = true));
    return restart;
  }

  function stopRun(): Json {
    for (const { metadata } of world.cluster.pods('default')) {
      world.cluster.remove('pods', 'default', metadata.name);
    }
    return {};
  }
});

import { expect } from 'chai';
import { AlertWorld } from '../fixtures/alert-world.ts';
import type { ActionAnswer } from '../fixtures/alert-world.ts';
import { failoverNamespace } from '../../src/names.ts';
import { countCordoned, nodeNames } from '../fixtures/train-world.ts';
import { isOpen, jsonOf, noteOf, restartOfTrain } from '../fixtures/verdicts.ts';

const alice = 'alice@example.com';
const bob = 'bob@example.com';
const needing = { approval: 'required' } as const;
const repair = { id: 'r', type: 'cordon_and_repair_nodepool', node_pool: 'slice-a', ...needing };
const cordonsAndRepairs = { 'PATCH nodes': 4, 'DELETE instances': 1 };
const nothing = {};

function planOf({ body }: ActionAnswer): string {
  return body.awaiting_approval?.plan ?? '';
}

async function createWorld(options: ConstructorParameters<typeof AlertWorld>[0] = {}): Promise<AlertWorld> {
  const world = new AlertWorld(options);
  await world.pass(60);
  return world;
}

/** Asks for an action, and returns the plan that waits. */
async function ask(world: AlertWorld, body: Record<string, unknown> = repair): Promise<string> {
  const asked = await world.act(body, alice);
  expect(asked.status, JSON.stringify(asked.body)).to.equal(202);
  return planOf(asked);
}

function approve(world: AlertWorld, plan: string, caller: string | undefined = bob, id = 'r') {
  return world.act({ type: 'approve', id, plan }, caller);
}

function budgetOf({ cluster }: AlertWorld): Record<string, string> {
  const lease = cluster.get('leases', failoverNamespace, 'cluster');
  return JSON.parse(lease?.metadata.annotations?.['autometric-failover/pools'] ?? '{}') as Record<
    string,
    string
  >;
}

function events({ cluster }: AlertWorld): string[] {
  return cluster
    .events()
    .map(({ reason }) => String(reason))
    .filter((reason) => reason.startsWith('Failover'));
}

function annotate({ cluster }: AlertWorld, key: string, value: string): void {
  cluster.change('leases', failoverNamespace, 'cluster', ({ metadata }) => {
    metadata.annotations = { ...metadata.annotations, [`autometric-failover/${key}`]: value };
  });
}

/** Kubernetes would say when the lock of the pool was taken; nobody holds it. */
function expectUntouched(world: AlertWorld): void {
  expect(world.effects()).to.deep.equal(nothing);
  expect(budgetOf(world)).to.deep.equal({});
  expect(world.cluster.get('leases', failoverNamespace, 'pool-slice-a')?.spec.holderIdentity).to.equal(
    undefined,
  );
}

describe('an action that needs an approval', () => {
  it('records its plan and does nothing else', async () => {
    const world = await createWorld();
    const { status, body } = await world.act(repair, alice);
    expect(status).to.equal(202);
    const plan = body.awaiting_approval?.plan ?? '';
    expect(plan).to.match(/^[0-9a-f]{64}$/);
    const { expires_at: expiresAt = '', approve: line } = body.awaiting_approval ?? {};
    expect(Date.parse(expiresAt) - world.time.now).to.be.within(1_799_000, 1_800_000);
    expect(line).to.deep.equal({ type: 'approve', id: 'r', plan, requestor: 'YOUR NAME' });
    expect(body.plan?.['repair']).to.include({ node: nodeNames(world.cluster, 'slice-a')[0] });
    expect(body.steps?.map(({ outcome }) => outcome)).to.deep.equal(['would_cordon', 'would_delete']);
    expectUntouched(world);
    expect(noteOf(world, 'r', 'phase')).to.equal('awaiting_approval');
    expect(isOpen(world, 'r')).to.equal(true);
    expect(events(world)).to.deep.equal(['FailoverActionAwaitingApproval']);
    expect(world.lastLine).to.include({ event: 'awaiting_approval', severity: 'WARNING', plan, status: 202 });
    expect(String(world.lastLine['message'])).to.include(`"plan":"${plan}"`);
  });

  it('leaves a pool that nothing was ever done to without a Lease', async () => {
    const world = await createWorld();
    await ask(world);
    expect(world.cluster.get('leases', failoverNamespace, 'pool-slice-a')).to.equal(undefined);
  });

  it('answers the same when it is sent again, and does not act', async () => {
    const world = await createWorld();
    const first = await world.act(repair, alice);
    await world.pass(300);
    const again = await world.act({ ...repair, reason: 'in other words' }, bob);
    expect(again.status).to.equal(202);
    expect(again.body).to.deep.equal(first.body);
    expectUntouched(world);
  });

  it('is carried out once by the approval of another principal', async () => {
    const world = await createWorld();
    const plan = await ask(world);
    const { status, body } = await approve(world, plan);
    expect(status, JSON.stringify(body)).to.equal(200);
    expect(body).to.not.have.property('resumed');
    expect(world.effects()).to.deep.equal(cordonsAndRepairs);
    expect(Object.keys(budgetOf(world))).to.deep.equal(['slice-a']);
    expect(jsonOf(world, 'r', 'approval')).to.include({ plan, by: bob, requestor: 'test' });
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
    const twice = await approve(world, plan);
    expect(twice.status).to.equal(200);
    expect(twice.body.replayed).to.equal(true);
    expect((await world.act(repair, alice)).body.replayed).to.equal(true);
    expect(world.effects()).to.deep.equal(nothing);
    await world.pass(600);
    await world.reconcile();
    expect(jsonOf(world, 'r', 'verdict')).to.include({ verdict: 'repaired' });
  });

  // F-315: an approval by the asker, or by somebody unknown, is no second pair of eyes.
  for (const [who, caller] of Object.entries({
    'its own asker': alice,
    'its asker in capitals': 'Alice@Example.com',
  })) {
    it(`is not carried out by ${who}`, async () => {
      const world = await createWorld();
      const plan = await ask(world);
      const { status, body } = await approve(world, plan, caller);
      expect({ status, code: body.code }).to.deep.equal({ status: 403, code: 'forbidden' });
      expectUntouched(world);
      expect((await approve(world, plan)).status).to.equal(200);
    });
  }

  it('is not carried out by somebody without an identity, and nobody without one can ask for it', async () => {
    const world = await createWorld();
    const plan = await ask(world);
    const unknown = await world.act({ type: 'approve', id: 'r', plan });
    expect(unknown.body.code).to.equal('forbidden');
    const asked = await world.act({ ...repair, id: 'other' });
    expect(asked.body.code).to.equal('forbidden');
    expect((await world.act({ ...repair, id: 'other', dry_run: true })).body.code).to.equal('forbidden');
    expect(noteOf(world, 'other', 'phase')).to.equal(undefined);
    expectUntouched(world);
  });

  // F-316: a task, a schedule or an alert that approves would be no approval.
  it('is not carried out by a task, a schedule or an event', async () => {
    const world = await createWorld();
    const plan = await ask(world);
    for (const headers of [
      { 'x-cloudtasks-queuename': 'q' },
      { 'x-cloudscheduler': 'true' },
      { 'user-agent': 'Google-Cloud-Scheduler' },
      { 'user-agent': 'Google-Cloud-Tasks' },
      { 'user-agent': 'APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)' },
      { 'ce-type': 'google.cloud.pubsub.topic.v1.messagePublished' },
    ]) {
      const { body } = await world.act({ type: 'approve', id: 'r', plan }, bob, { headers });
      expect(body.code, JSON.stringify(headers)).to.equal('forbidden');
    }
    for (const failover_action of ['approve', 'reject']) {
      const { body } = await world.notify({ id: 'r', labels: { failover_action } });
      expect(body.code).to.equal('invalid_action');
    }
    expect((await world.send({ type: 'approve', id: 'r', plan, requestor: 'x' })).body.code).to.equal(
      'invalid_action',
    );
    expectUntouched(world);
    expect(noteOf(world, 'r', 'phase')).to.equal('awaiting_approval');
  });

  it('may be asked for by the setting, for these types only', async () => {
    const world = await createWorld({ environment: { APPROVAL_ACTIONS: 'repair_nodepool' } });
    const { approval: _, ...plain } = repair;
    expect((await world.act({ ...plain, type: 'cordon_nodepool' }, alice)).status).to.equal(200);
    world.effects();
    const waits = await world.act(
      { ...plain, id: 'p', type: 'repair_nodepool', node_pool: 'slice-b' },
      alice,
    );
    expect(waits.status).to.equal(202);
    expect(world.effects()).to.deep.equal(nothing);
  });

  it('says in a dry run that the live action waits', async () => {
    const world = await createWorld();
    const { status, body } = await world.act({ ...repair, dry_run: true }, alice);
    expect(status).to.equal(200);
    expect(body.steps?.[0]).to.include({ step: 'notice' });
    expect(String(body.steps?.[0]?.['notice'])).to.include('approval');
  });

  it('belongs to its id: without the approval it is another action', async () => {
    const world = await createWorld();
    await ask(world);
    const { approval: _, ...plain } = repair;
    expect((await world.act(plain, alice)).body.code).to.equal('id_reused');
    expectUntouched(world);
  });
});

describe('an approval beside its end', () => {
  // F-317: an approval of what somebody looked at half an hour ago acts on another world.
  it('is refused once the time is over, which settles the action', async () => {
    const world = await createWorld();
    const plan = await ask(world);
    await world.pass(1801);
    const { status, body } = await approve(world, plan);
    expect({ status, code: body.code }).to.deep.equal({ status: 409, code: 'approval_refused' });
    expectUntouched(world);
    expect(jsonOf(world, 'r', 'verdict')).to.include({ verdict: 'expired' });
    expect(isOpen(world, 'r')).to.equal(false);
    expect(events(world)).to.include('FailoverApprovalExpired');
    expect((await approve(world, plan)).body.code).to.equal('approval_refused');
    expect((await world.act(repair, alice)).body.code).to.equal('approval_refused');
    expectUntouched(world);
  });

  it('is carried out in its last second', async () => {
    const world = await createWorld();
    const plan = await ask(world);
    await world.pass(1798);
    expect((await approve(world, plan)).status).to.equal(200);
    expect(world.effects()).to.deep.equal(cordonsAndRepairs);
  });

  it('settles by reconcile, which pages and never carries the action out', async () => {
    const world = await createWorld({ environment: { APPROVAL_TTL_SECONDS: '600' } });
    await ask(world);
    await world.pass(120);
    const first = await world.reconcile();
    expect(first.clusters[0]).to.deep.include({ waiting: ['r'], resumed: [], settled: [] });
    expect(world.lines.filter(({ event }) => event === 'awaiting_approval')).to.have.length(2);
    expect(events(world)).to.deep.equal(['FailoverActionAwaitingApproval']);
    await world.pass(490);
    const { clusters } = await world.reconcile();
    expect(clusters[0]?.settled).to.deep.equal([{ id: 'r', verdict: 'expired' }]);
    expect(world.lines.findLast(({ event }) => event === 'verdict')).to.include({ severity: 'ERROR' });
    expectUntouched(world);
    expect((await world.reconcile()).clusters[0]?.open).to.equal(0);
  });

  it('settles by a resend after its time', async () => {
    const world = await createWorld();
    await ask(world);
    await world.pass(1801);
    expect((await world.act(repair, alice)).body.code).to.equal('approval_refused');
    expect(jsonOf(world, 'r', 'verdict')).to.include({ verdict: 'expired' });
    await world.pass(61);
    await world.reconcile();
    expect(isOpen(world, 'r')).to.equal(false);
    expectUntouched(world);
  });
});

describe('a rejection', () => {
  it('settles the action, which nobody can carry out any more', async () => {
    const world = await createWorld();
    const plan = await ask(world);
    const { status, body } = await world.act(
      { type: 'reject', id: 'r', reason: 'the run ends at noon' },
      bob,
    );
    expect(status).to.equal(200);
    expect(body.verdict).to.include({
      verdict: 'rejected',
      why: `test (${bob}) rejected it: the run ends at noon`,
    });
    expect(isOpen(world, 'r')).to.equal(false);
    expect(world.lines.findLast(({ event }) => event === 'verdict')).to.include({ severity: 'INFO' });
    expect(events(world)).to.include('FailoverRejected');
    expect((await world.act({ type: 'reject', id: 'r' }, bob)).body.verdict).to.deep.equal(body.verdict);
    expect((await approve(world, plan)).body.code).to.equal('approval_refused');
    expect((await world.act(repair, alice)).body.code).to.equal('approval_refused');
    await world.reconcile();
    expectUntouched(world);
  });

  it('may come from its asker, and not after the approval', async () => {
    const world = await createWorld();
    const plan = await ask(world);
    expect((await world.act({ type: 'reject', id: 'r' }, alice)).status).to.equal(200);
    const second = await ask(world, { ...repair, id: 's' });
    await approve(world, second, bob, 's');
    const { body } = await world.act({ type: 'reject', id: 's' }, alice);
    expect(body.code).to.equal('approval_refused');
    expect(body.error).to.include(bob);
    expect(plan).to.not.equal(second);
  });

  it('of another plan rejects nothing', async () => {
    const world = await createWorld();
    await ask(world);
    const { body } = await world.act({ type: 'reject', id: 'r', plan: '0'.repeat(64) }, bob);
    expect(body.code).to.equal('target_changed');
    expect(noteOf(world, 'r', 'phase')).to.equal('awaiting_approval');
  });
});

describe('an approval', () => {
  it('of an action that is not known, or that waits for none, is refused', async () => {
    const world = await createWorld();
    expect((await approve(world, '0'.repeat(64))).body.code).to.equal('target_not_found');
    const { approval: _, ...plain } = repair;
    await world.act(plain, alice);
    world.effects();
    expect((await approve(world, '0'.repeat(64))).body.code).to.equal('approval_refused');
    expect(world.effects()).to.deep.equal(nothing);
  });

  it('must name the plan, in full', async () => {
    const world = await createWorld();
    const plan = await ask(world);
    for (const given of [undefined, '', plan.slice(0, 12), plan.toUpperCase()]) {
      expect((await world.act({ type: 'approve', id: 'r', plan: given }, bob)).body.code).to.equal(
        'invalid_action',
      );
    }
    expect((await approve(world, '0'.repeat(64))).body.code).to.equal('target_changed');
    expectUntouched(world);
  });

  // F-318: an approval that carries out what nobody has looked at.
  it('of a plan that is another one by now does nothing, and the new plan waits for as long', async () => {
    const world = await createWorld();
    const asked = await world.act(repair, alice);
    const plan = planOf(asked);
    const [, second = ''] = nodeNames(world.cluster, 'slice-a');
    world.cluster.killNode(second);
    await world.pass(120);
    const { status, body } = await approve(world, plan);
    expect({ status, code: body.code }).to.deep.equal({ status: 409, code: 'target_changed' });
    expectUntouched(world);
    const now = await world.act(repair, alice);
    expect(now.status).to.equal(202);
    expect(planOf(now)).to.not.equal(plan);
    expect(body.error).to.include(planOf(now));
    expect(now.body.awaiting_approval?.expires_at).to.equal(asked.body.awaiting_approval?.expires_at);
    expect(now.body.plan?.['repair']).to.include({ node: second });
    expect((await approve(world, plan)).body.code).to.equal('target_changed');
    expectUntouched(world);
    expect((await approve(world, planOf(now))).status).to.equal(200);
    expect(world.effects()).to.deep.equal(cordonsAndRepairs);
  });

  // F-319: a restart that was approved for one attempt ends the next one.
  it('of a restart does not end a newer attempt', async () => {
    const world = await createWorld();
    const plan = await ask(world, { ...restartOfTrain, ...needing });
    const [pod] = world.cluster.pods('default');
    world.cluster.finishPod('default', pod?.metadata.name ?? '', 'Failed');
    await world.pass(120);
    const { body } = await approve(world, plan, bob, 'a');
    expect(body.code, JSON.stringify(body)).to.equal('target_changed');
    expectUntouched(world);
  });

  it('does not end an attempt that begins while its pool is being cordoned', async () => {
    const world = await createWorld();
    const plan = await ask(world, { ...restartOfTrain, ...needing });
    let hasHappened = false;
    const match = () => {
      if (hasHappened) return false;
      hasHappened = true;
      for (const name of nodeNames(world.cluster, 'slice-b')) world.cluster.cordonAs('kubectl', name, true);
      const [pod] = world.cluster.pods('default');
      world.cluster.finishPod('default', pod?.metadata.name ?? '', 'Failed');
      world.emulator.settle();
      return false;
    };
    world.emulator.faults.add({ method: 'PATCH', path: /\/nodes\//, match, effect: 'none' });
    const { body } = await approve(world, plan, bob, 'a');
    expect(body.steps?.at(-1), JSON.stringify(body)).to.include({
      outcome: 'already_restarting',
      attempt: 0,
    });
    expect(world.effects()).not.to.have.any.keys('DELETE pods', 'PATCH jobs', 'DELETE jobs');
    expect(world.cluster.get('jobsets', 'default', 'train')?.status.restarts).to.equal(1);
  });

  // F-320: a switch that was set, or a limit that was reached, while the plan waited.
  it('asks every limit again, and may be repeated', async () => {
    const world = await createWorld();
    const plan = await ask(world);
    annotate(world, 'paused', 'a game day');
    expect((await approve(world, plan)).body.code).to.equal('paused');
    expect(world.effects()).to.deep.equal(nothing);
    expect(noteOf(world, 'r', 'phase')).to.equal('awaiting_approval');
    world.cluster.change('leases', failoverNamespace, 'cluster', ({ metadata }) => {
      const { 'autometric-failover/paused': _, ...rest } = metadata.annotations ?? {};
      metadata.annotations = rest;
    });
    annotate(
      world,
      'pools',
      JSON.stringify({
        x: new Date(world.time.now).toISOString(),
        y: new Date(world.time.now).toISOString(),
      }),
    );
    expect((await approve(world, plan)).body.code).to.equal('budget_exceeded');
    annotate(world, 'pools', '{}');
    expect(world.effects()).to.deep.equal(nothing);
    expect(noteOf(world, 'r', 'phase')).to.equal('awaiting_approval');
    expect((await approve(world, plan)).status).to.equal(200);
    expect(world.effects()).to.deep.equal(cordonsAndRepairs);
  });

  it('is refused by the cooldown of what was done meanwhile', async () => {
    const world = await createWorld();
    const plan = await ask(world);
    const { approval: _, ...plain } = repair;
    await world.act({ ...plain, id: 'first' }, alice);
    await world.pass(600);
    world.effects();
    const { body } = await approve(world, plan);
    expect(body.code).to.equal('rate_limited');
    expect(world.effects()).to.deep.equal(nothing);
    expect(noteOf(world, 'r', 'phase')).to.equal('awaiting_approval');
  });
});

describe('the approval of what an alert asks for', () => {
  const labels = { failover_action: 'cordon_and_repair_nodepool', failover_approval: 'required' };

  async function alert(world: AlertWorld, more: Record<string, string> = {}): Promise<void> {
    const [node = ''] = nodeNames(world.cluster, 'slice-a');
    world.cluster.killNode(node);
    const answer = await world.notify({
      id: '0.i',
      resource: { node_name: node },
      labels: { ...labels, ...more },
    });
    expect(answer.status, JSON.stringify(answer.body)).to.equal(202);
  }

  it('waits, and Pub/Sub does not deliver the alert again', async () => {
    const world = await createWorld();
    const { createNotification } = await import('../fixtures/notification.ts');
    const [node = ''] = nodeNames(world.cluster, 'slice-a');
    const delivery = world.publish(
      createNotification({ id: '0.i', startedAt: world.time.now, resource: { node_name: node }, labels }),
    );
    await world.deliverAll([delivery]);
    expect(delivery).to.deep.include({ deliveries: 1, isAcknowledged: true });
    expectUntouched(world);
    const { plan } = jsonOf(world, '0.i', 'approval');
    expect((await approve(world, String(plan), bob, '0.i')).status).to.equal(200);
    expect(world.effects()).to.deep.include({ 'DELETE instances': 1 });
  });

  it('does nothing once its incident has closed', async () => {
    const world = await createWorld();
    await alert(world, { failover_on_close: 'uncordon_nodepool' });
    const { plan } = jsonOf(world, '0.i', 'approval');
    const closed = await world.notify({
      id: '0.i',
      state: 'closed',
      resource: { node_name: nodeNames(world.cluster, 'slice-a')[0] ?? '' },
      labels: { ...labels, failover_on_close: 'uncordon_nodepool' },
    });
    expect(closed.body.ignored).to.be.a('string');
    const { body } = await approve(world, String(plan), bob, '0.i');
    expect(body.ignored).to.include('closed');
    expectUntouched(world);
    expect(noteOf(world, '0.i', 'phase')).to.equal('settled');
    expect(isOpen(world, '0.i')).to.equal(false);
  });

  it('holds no cordon while it waits, nor after an approval that was refused', async () => {
    const world = await createWorld();
    await world.act({ id: 'c', type: 'cordon_nodepool', node_pool: 'slice-a' }, alice);
    world.effects();
    const holds = () =>
      world.cluster.get('leases', failoverNamespace, 'pool-slice-a')?.metadata.annotations?.[
        'autometric-failover/cordoned-for'
      ] ?? '';
    await alert(world, { failover_on_close: 'uncordon_nodepool' });
    expect(holds()).not.to.include('0.i');
    annotate(world, 'paused', 'a game day');
    const { plan } = jsonOf(world, '0.i', 'approval');
    expect((await approve(world, String(plan), bob, '0.i')).body.code).to.equal('paused');
    expect(holds()).not.to.include('0.i');
    world.cluster.change('leases', failoverNamespace, 'cluster', ({ metadata }) => {
      const { 'autometric-failover/paused': _, ...rest } = metadata.annotations ?? {};
      metadata.annotations = rest;
    });
    expect((await approve(world, String(plan), bob, '0.i')).status).to.equal(200);
    expect(holds()).to.include('0.i');
  });

  it('uncordons at the close only once that is approved, if it must be', async () => {
    const world = await createWorld({ environment: { APPROVAL_ACTIONS: 'uncordon_nodepool' } });
    const of = {
      id: '0.i',
      resource: { node_name: nodeNames(world.cluster, 'slice-a')[0] ?? '' },
      labels: { failover_action: 'cordon_nodepool', failover_on_close: 'uncordon_nodepool' },
    };
    expect((await world.notify(of)).status).to.equal(200);
    expect((await world.notify({ ...of, state: 'closed' })).status).to.equal(202);
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
    const { plan } = jsonOf(world, '0.i.closed', 'approval');
    const { status, body } = await approve(world, String(plan), bob, '0.i.closed');
    expect(status, JSON.stringify(body)).to.equal(200);
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
  });

  it('does nothing once the machine is well again', async () => {
    const world = await createWorld();
    await alert(world);
    const { plan } = jsonOf(world, '0.i', 'approval');
    const { approval: _, ...plain } = repair;
    await world.act({ ...plain, id: 'by-hand' }, alice);
    await world.pass(700);
    world.effects();
    const { status, body } = await approve(world, String(plan), bob, '0.i');
    expect(status, JSON.stringify(body)).to.equal(200);
    expect(body.ignored).to.be.a('string');
    expect(world.effects()).to.deep.equal(nothing);
  });

  it('is not told again where it was rejected and its incident is', async () => {
    const world = await createWorld();
    await alert(world);
    await world.act({ type: 'reject', id: '0.i' }, bob);
    const { body } = await world.notify({
      id: '0.i',
      resource: { node_name: nodeNames(world.cluster, 'slice-a')[0] ?? '' },
      labels,
      renotify: true,
    });
    expect(body.ignored).to.include('rejected');
    expectUntouched(world);
  });

  it('is held to the label: it can only be required', async () => {
    const world = await createWorld();
    const { body } = await world.notify({ id: '0.j', labels: { ...labels, failover_approval: 'yes' } });
    expect(body.code).to.equal('invalid_action');
  });
});

describe('what follows an action', () => {
  // F-321: an escalation that nobody has approved deletes a machine.
  it('waits for its approval by the setting, and not for ever', async () => {
    const world = await createWorld({
      slices: ['slice-a'],
      environment: { APPROVAL_ACTIONS: 'cordon_and_repair_nodepool' },
    });
    const asked = await world.act({ ...restartOfTrain, on_failure: 'cordon_and_repair_nodepool' }, alice);
    expect(asked.status, JSON.stringify(asked.body)).to.equal(200);
    world.effects();
    await world.pass(1201);
    await world.reconcile();
    expect(world.effects()).to.deep.equal(nothing);
    expect(noteOf(world, 'a.on-failure', 'phase')).to.equal('awaiting_approval');
    expect(jsonOf(world, 'a', 'follow-up')).to.include({ id: 'a.on-failure', outcome: 'begun' });
    expect(isOpen(world, 'a')).to.equal(false);
    const { plan } = jsonOf(world, 'a.on-failure', 'approval');
    expect((await approve(world, String(plan), alice, 'a.on-failure')).body.code).to.equal('forbidden');
    expect((await approve(world, String(plan), bob, 'a.on-failure')).status).to.equal(200);
    expect(world.effects()).to.deep.equal({ 'DELETE instances': 1 });
  });

  it('waits, too, where the action itself needed an approval', async () => {
    const world = await createWorld({ slices: ['slice-a'] });
    const plan = await ask(world, { ...restartOfTrain, ...needing, on_failure: 'repair_nodepool' });
    expect((await approve(world, plan, bob, 'a')).status).to.equal(200);
    world.effects();
    await world.pass(1201);
    await world.reconcile();
    expect(world.effects()).to.deep.equal(nothing);
    expect(noteOf(world, 'a.on-failure', 'phase')).to.equal('awaiting_approval');
  });
});

import { expect } from 'chai';
import { AlertWorld } from '../fixtures/alert-world.ts';
import { countCordoned, nodeNames } from '../fixtures/train-world.ts';
import { isOpen, jsonOf, noteOf, verdictEvents } from '../fixtures/verdicts.ts';

const restart = { failover_action: 'cordon_nodepool_and_restart_jobset', failover_jobset: 'train' };
const repair = { failover_action: 'cordon_and_repair_nodepool' };

/** A world that is a minute old; without room elsewhere unless there are more slices. */
async function createWorld(
  options: ConstructorParameters<typeof AlertWorld>[0] = {},
): Promise<AlertWorld & { node: string }> {
  const world = new AlertWorld({ slices: ['slice-a'], ...options });
  await world.pass(60);
  return Object.assign(world, { node: nodeNames(world.cluster, 'slice-a')[0] ?? '' });
}

function settled({ clusters }: Awaited<ReturnType<AlertWorld['reconcile']>>): string[] {
  return (clusters[0]?.settled ?? []).map(({ id, verdict }) => `${id} ${verdict}`);
}

function verdictLines({ lines }: AlertWorld): Record<string, unknown>[] {
  return lines.filter(({ event }) => event === 'verdict');
}

describe('labels of a policy', () => {
  it('have the machine repaired after a restart that did not help, and the pool uncordoned once it is back', async () => {
    const world = await createWorld();
    const answer = await world.notify({
      id: '0.one',
      resource: { node_name: world.node },
      labels: {
        ...restart,
        failover_on_failure: 'cordon_and_repair_nodepool',
        failover_uncordon_when_repaired: 'true',
      },
    });
    expect(answer.status).to.equal(200);
    expect(world.effects()).to.deep.include({ 'PATCH nodes': 4, 'DELETE pods': 1 });
    await world.pass(1201);
    expect(settled(await world.reconcile())).to.deep.equal(['0.one not_recovered']);
    expect(world.effects()).to.deep.equal({ 'DELETE instances': 1 });
    expect(jsonOf(world, '0.one.on-failure', 'request')).to.deep.include({
      followUpOf: { id: '0.one', isOfAlert: true },
      uncordonWhenRepaired: true,
    });
    await world.pass(600);
    const done = await world.reconcile();
    expect(done.status).to.equal(200);
    expect(settled(done)).to.deep.equal(['0.one.on-failure repaired']);
    expect(noteOf(world, '0.one.on-failure.uncordon', 'phase')).to.equal('settled');
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
    expect(verdictEvents(world)).to.deep.equal(['FailoverNotRecovered', 'FailoverRepaired']);
    expect(
      verdictLines(world).map(({ severity, action_id: id }) => `${String(severity)} ${String(id)}`),
    ).to.deep.equal(['ERROR 0.one', 'INFO 0.one.on-failure']);
    expect(await world.reconcile()).to.deep.equal({
      status: 200,
      clusters: [{ ...done.clusters[0], open: 0, settled: [] }],
    });
  });

  it('count from the beginning of the incident', async () => {
    const world = await createWorld({ slices: ['slice-a', 'slice-b'] });
    const startedAt = world.time.now - 45_000;
    await world.notify({ id: '0.one', startedAt, resource: { node_name: world.node }, labels: restart });
    await world.pass(60);
    expect(settled(await world.reconcile())).to.deep.equal(['0.one recovered']);
    const { seconds, seconds_since_request: since } = jsonOf(world, '0.one', 'verdict');
    expect(Number(seconds) - Number(since)).to.be.within(44, 46);
  });

  it('do what ALERT_ACTIONS allows only: a follow-up is refused, and nothing is deleted', async () => {
    const allowed = {
      ALERT_ACTIONS: 'cordon_nodepool_and_restart_jobset,cordon_and_repair_nodepool',
    };
    const world = await createWorld();
    await world.notify(
      {
        id: '0.one',
        resource: { node_name: world.node },
        labels: { ...restart, failover_on_failure: 'cordon_and_repair_nodepool' },
      },
      allowed,
    );
    world.effects();
    await world.pass(1201);
    const now = { ALERT_ACTIONS: 'cordon_nodepool_and_restart_jobset' };
    expect(settled(await world.reconcile(now))).to.deep.equal(['0.one not_recovered']);
    expect(world.effects()).to.deep.equal({});
    expect(jsonOf(world, '0.one', 'follow-up')).to.include({ outcome: 'refused', code: 'forbidden' });
    const line = world.lines.find(
      ({ action_id: id, event }) => id === '0.one.on-failure' && event === 'refused',
    );
    expect(line).to.include({ severity: 'ERROR', code: 'forbidden' });
    expect(isOpen(world, '0.one')).to.equal(false);
  });

  it('refuse an alert whose follow-up ALERT_ACTIONS does not allow, before anything is done', async () => {
    const world = await createWorld();
    const answer = await world.notify(
      {
        id: '0.one',
        resource: { node_name: world.node },
        labels: { ...restart, failover_on_failure: 'repair_nodepool' },
      },
      { ALERT_ACTIONS: 'cordon_nodepool_and_restart_jobset' },
    );
    expect(answer.body).to.include({ code: 'forbidden' });
    expect(world.effects()).to.deep.equal({});
  });

  it('are refused where ALERT_ACTIONS has the repair, but not the uncordon that follows', async () => {
    const world = await createWorld({ jobSet: null });
    const labels = { ...repair, failover_uncordon_when_repaired: 'true' };
    const alert = { id: '0.one', resource: { node_name: world.node }, labels };
    const refused = await world.notify(alert, { ALERT_ACTIONS: 'cordon_and_repair_nodepool' });
    expect(refused.body).to.include({ code: 'forbidden' });
    expect(world.effects()).to.deep.equal({});
    // It was allowed when it came, and is not any more when the machine is back.
    await world.notify(alert);
    await world.pass(600);
    world.effects();
    const now = { ALERT_ACTIONS: 'cordon_and_repair_nodepool' };
    expect(settled(await world.reconcile(now))).to.deep.equal(['0.one repaired']);
    expect(jsonOf(world, '0.one', 'follow-up')).to.include({ outcome: 'refused', code: 'forbidden' });
    expect(world.effects()).to.deep.equal({});
  });

  // F-206: the cordon of the other incident was released.
  it('leave a pool cordoned for another incident that is still open', async () => {
    const world = await createWorld({ jobSet: null });
    const cordon = { failover_action: 'cordon_nodepool', failover_on_close: 'uncordon_nodepool' };
    await world.notify({ id: '0.other', resource: { node_name: world.node }, labels: cordon });
    const labels = { ...repair, failover_uncordon_when_repaired: 'true' };
    await world.notify({ id: '0.one', resource: { node_name: world.node }, labels });
    await world.pass(600);
    // Those that came anew are cordoned for the other incident, too.
    await world.notify({
      id: '0.third',
      resource: { node_name: nodeNames(world.cluster, 'slice-a')[0] ?? '' },
      labels: cordon,
    });
    const before = countCordoned(world.cluster, 'slice-a');
    world.effects();
    await world.reconcile();
    expect(jsonOf(world, '0.one', 'follow-up')['why']).to.match(
      /node pool slice-a stays cordoned because incident 0\.\w+/,
    );
    expect(world.effects()).to.deep.equal({});
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(before);
  });

  it('release the cordon of their own incident, although it is still open', async () => {
    const world = await createWorld({ jobSet: null });
    const labels = {
      ...repair,
      failover_on_close: 'uncordon_nodepool',
      failover_uncordon_when_repaired: 'true',
    };
    await world.notify({ id: '0.one', resource: { node_name: world.node }, labels });
    await world.pass(600);
    expect(settled(await world.reconcile())).to.deep.equal(['0.one repaired']);
    expect(jsonOf(world, '0.one', 'follow-up')).to.include({ outcome: 'done' });
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
  });

  it('are refused where they make no sense', async () => {
    const world = await createWorld();
    for (const labels of [
      { ...repair, failover_on_failure: 'repair_nodepool' },
      { ...restart, failover_on_failure: 'uncordon_nodepool' },
      { ...restart, failover_uncordon_when_repaired: 'true' },
      { ...repair, failover_uncordon_when_repaired: 'yes' },
    ]) {
      const { body } = await world.notify({ resource: { node_name: world.node }, labels });
      expect(body, JSON.stringify(labels)).to.include({ code: 'invalid_action' });
    }
    expect(world.effects()).to.deep.equal({});
  });
});

describe('an alert whose instance died', () => {
  it('is carried on from its record alone, whatever it was about', async () => {
    const world = await createWorld({ slices: ['slice-a', 'slice-b'] });
    const pod = world.cluster.pods('default').find(({ spec }) => spec.nodeName === world.node);
    // Every cordon fails, so that the action stops after its plan.
    const lift = world.emulator.faults.add({
      method: 'PATCH',
      path: /\/nodes\//,
      times: Infinity,
      effect: { status: 500 },
    });
    const { status } = await world.notify({
      id: '0.one',
      type: 'k8s_pod',
      resource: { namespace_name: 'default', pod_name: pod?.metadata.name ?? '' },
      labels: restart,
    });
    expect(status).to.equal(502);
    lift();
    expect((await world.reconcile()).clusters[0]).to.deep.include({ resumed: ['0.one'], errors: [] });
    await world.pass(60);
    expect(settled(await world.reconcile())).to.deep.equal(['0.one recovered']);
    expect(world.cluster.get('jobsets', 'default', 'train')?.status.restarts).to.equal(1);
  });
});

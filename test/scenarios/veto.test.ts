import { expect } from 'chai';
import { failoverNamespace } from '../../src/names.ts';
import { countEffects } from '../fixtures/count-writes.ts';
import { annotateCluster } from '../fixtures/train-run.ts';
import { countCordoned, whereTrainRuns } from '../fixtures/train-world.ts';
import { jsonOf, noteOf, repairOfSlice, restartOfTrain } from '../fixtures/verdicts.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

const leasePath = `/apis/coordination.k8s.io/v1/namespaces/${failoverNamespace}/leases/pool-slice-a`;

/** A person applies the line of the runbook, whether or not the pool has a Lease. */
function veto({ cluster }: VirtualFailover, annotations: Record<string, string>): void {
  const lease = {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name: 'pool-slice-a', labels: { 'autometric-failover/kind': 'pool' }, annotations },
  };
  const type = { 'content-type': 'application/apply-patch+yaml' };
  const { status, body } = cluster.ask('PATCH', `${leasePath}?fieldManager=kubectl`, lease, type);
  expect(status, JSON.stringify(body)).to.be.oneOf([200, 201]);
}

const key = 'autometric-failover/veto';

function inAnHour({ time }: VirtualFailover): string {
  return new Date(time.now + 3_600_000).toISOString();
}

async function expectVetoed(
  world: VirtualFailover,
  body: Record<string, unknown>,
  why: RegExp,
): Promise<void> {
  const answer = await world.send(body);
  expect(answer).to.include({ status: 409, code: 'paused' });
  expect(answer.error).to.match(why);
  expect(countEffects(world.newWrites())).to.deep.equal({});
}

// F-307: somebody debugged a slice, and an alert had its machines deleted; the pause of the whole cluster was too much for that.
describe('a veto of a pool', () => {
  for (const [what, prepare] of [
    ['that was never acted on', async () => undefined],
    [
      'that has a Lease already',
      async (world: VirtualFailover) => {
        await world.send({ id: 'c', type: 'cordon_nodepool', node_pool: 'slice-a' });
        await world.send({ id: 'u', type: 'uncordon_nodepool', node_pool: 'slice-a' });
        world.newWrites();
      },
    ],
  ] as const) {
    it(`${what} refuses everything but dry runs and uncordon_nodepool, and says why and until when`, async () => {
      const world = new VirtualFailover();
      await prepare(world);
      veto(world, { [key]: `${inAnHour(world)}  INC-42: Alice debugs it` });
      const why =
        /^somebody keeps failover away from node pool slice-a until 20\S+Z: INC-42: Alice debugs it; to lift it: kubectl annotate lease pool-slice-a -n autometric-failover-system autometric-failover\/veto-$/;
      await expectVetoed(world, restartOfTrain, why);
      await expectVetoed(world, repairOfSlice, why);
      await expectVetoed(world, { id: 'x', type: 'cordon_nodepool', node_pool: 'slice-a' }, why);
      const dryRun = await world.send({ ...restartOfTrain, dry_run: true });
      expect(dryRun.steps[0]).to.include({ step: 'limits', code: 'paused' });
      annotateCluster(world, 'override-until', new Date(world.time.now + 600_000).toISOString());
      await expectVetoed(world, repairOfSlice, why);
      const back = { id: 'y', type: 'uncordon_nodepool', node_pool: 'slice-a' };
      expect((await world.send(back)).status).to.equal(200);
      expect((await world.send({ id: 'z', type: 'repair_nodepool', node_pool: 'slice-b' })).status).to.equal(
        200,
      );
      // It is still there after all that.
      world.newWrites();
      await expectVetoed(world, { ...repairOfSlice, id: 'again' }, why);
    });
  }

  it('ends at its time', async () => {
    const world = new VirtualFailover();
    veto(world, { [key]: `${inAnHour(world)} INC-42` });
    await world.pass(3601);
    expect((await world.send(restartOfTrain)).status).to.equal(200);
  });

  for (const [what, annotations] of Object.entries({
    'without a time': { [key]: 'INC-42' },
    'with a time that is none': { [key]: 'tomorrow INC-42' },
    'with a day that is none': { [key]: '2026-11-31T25:00:00Z INC-42' },
    'without a reason': { [key]: '2030-01-01T00:00:00Z' },
    empty: { [key]: '' },
    'that is misspelt': { 'autometric-failover/vetto': '2030-01-01T00:00:00Z INC-42' },
    'without its prefix': { veto: '2030-01-01T00:00:00Z INC-42' },
    'with two words': { 'autometric-failover/veto-until': '2030-01-01T00:00:00Z' },
  })) {
    it(`${what} refuses until it is put right`, async () => {
      const world = new VirtualFailover();
      veto(world, annotations);
      const [written = ''] = Object.keys(annotations);
      await expectVetoed(
        world,
        restartOfTrain,
        written === key
          ? /is not a time and a reason, such as/
          : new RegExp(
              `unknown annotation ${written}, did you mean ${key}\\?.*annotate lease pool-slice-a .* ${written}-$`,
            ),
      );
    });
  }

  it('that comes while an action cordons stops it before its deletion', async () => {
    const world = new VirtualFailover();
    world.once(/PATCH .*nodes/, () => veto(world, { [key]: `${inAnHour(world)} INC-42` }));
    const answer = await world.send(restartOfTrain);
    expect(answer).to.include({ status: 409, code: 'paused' });
    expect(countEffects(world.newWrites())).to.deep.equal({ 'PATCH nodes': 4 });
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-a #0']);
  });

  it('holds up what reconcile would carry on, and lets it go on later', async () => {
    const world = new VirtualFailover();
    const doomed = world.newInstance();
    world.once(/PATCH .*nodes/, () => doomed.crash());
    world.begin(restartOfTrain, doomed);
    await world.pass(90);
    veto(world, { [key]: `${new Date(world.time.now + 120_000).toISOString()} INC-42` });
    expect((await world.reconcile()).waiting).to.deep.equal(['a']);
    expect(noteOf(world, 'a', 'phase')).to.equal('planned');
    await world.pass(130);
    expect((await world.reconcile()).resumed).to.deep.equal(['a']);
    await world.pass(5);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
  });

  it('lets a run that restarts in place have its pool back', async () => {
    const world = new VirtualFailover({ slices: ['slice-a'], slice: { nodeObject: 'survives' } });
    await world.send({ ...restartOfTrain, when_no_spare: 'repair' });
    veto(world, { [key]: `${inAnHour(world)} INC-42` });
    for (let minute = 0; minute < 10; minute++) {
      await world.pass(60);
      await world.reconcile();
    }
    expect(jsonOf(world, 'a', 'verdict')).to.include({ verdict: 'recovered' });
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
  });
});

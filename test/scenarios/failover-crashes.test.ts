import { expect } from 'chai';
import { countEffects } from '../fixtures/count-writes.ts';
import { deletedMachines, restarts } from '../fixtures/train-run.ts';
import { countCordoned, whereTrainRuns } from '../fixtures/train-world.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

// Whichever request an instance dies or freezes at, the same action sent again ends with one set of effects.

const cordon = { id: 'a', type: 'cordon_nodepool', node_pool: 'slice-a' };
const restart = { ...cordon, type: 'cordon_nodepool_and_restart_jobset', jobset_name: 'train' };

const actions = {
  cordon,
  restart,
  'restart of a JobSet by its name': { ...restart, node_pool: null },
  repair: { ...cordon, type: 'cordon_and_repair_nodepool' },
};

/** Machines that stay away: their replacements would come without a cordon. */
const options = { slices: ['slice-a', 'slice-b', 'slice-c'], slice: { repairDelaySeconds: 7200 } };

/** The requests that an action takes when nothing goes wrong, as their methods. */
async function methodsOf(body: Record<string, unknown>): Promise<string[]> {
  const world = new VirtualFailover(options);
  await world.send(body);
  return world.emulator.requests.map(({ method }) => method);
}

/** The action was carried out once, on slice-a alone, and is in nobody's way. */
async function expectDoneOnce(world: VirtualFailover, body: { type: string }, where: string): Promise<void> {
  await world.pass(5);
  const isRestart = body.type === restart.type;
  const isRepair = body.type === actions.repair.type;
  expect(countCordoned(world.cluster, 'slice-a'), where).to.equal(4);
  expect(countCordoned(world.cluster, 'slice-b'), where).to.equal(0);
  expect(restarts(world), where).to.equal(isRestart ? 1 : 0);
  if (!isRepair) {
    expect(whereTrainRuns(world.cluster), where).to.deep.equal(isRestart ? ['slice-b #1'] : ['slice-a #0']);
  }
  expect(deletedMachines(world), where).to.have.length(isRepair ? 1 : 0);
  expect((await world.send({ ...cordon, id: 'next' })).status, where).to.equal(200);
}

describe('failover', () => {
  for (const [what, body] of Object.entries(actions)) {
    // F-11: a crash after the cordon and before the deletion: the retry resumes.
    // F-20: a crash after the deletion and before the record: the retry chooses nothing else.
    it(`completes a ${what} that crashed at any of its writes when the same request is sent again`, async () => {
      const methods = await methodsOf(body);
      const writes = [...methods.keys()].filter((request) => methods[request] !== 'GET');
      expect(writes.length).to.be.greaterThan(6);
      for (const request of writes) {
        const world = new VirtualFailover(options);
        const doomed = world.newInstance();
        let where = '';
        world.after(request, ({ method, path }) => {
          where = `crashed at request ${request}, ${method} ${path}`;
          doomed.crash();
        });
        world.begin(body, doomed);
        await world.pass(75);
        const answer = await world.send(body);
        expect(answer.status, `${where}: ${answer.error}`).to.equal(200);
        await expectDoneOnce(world, body, where);
      }
    });
  }

  // F-23: a throttled instance thaws after another action took its lock: its next write does not happen.
  for (const [what, body] of Object.entries({ restart, repair: actions.repair })) {
    it(`stops a ${what} that froze at any of its requests once another action has the pool, and resumes it`, async () => {
      const requests = (await methodsOf(body)).length;
      for (let request = 0; request < requests; request++) {
        const world = new VirtualFailover(options);
        const frozen = world.newInstance();
        let where = '';
        world.after(request, ({ method, path }) => {
          where = `frozen at request ${request}, ${method} ${path}`;
          frozen.freeze(200_000);
        });
        const first = world.begin(body, frozen);
        await world.pass(100);
        const other = await world.send({ ...cordon, id: 'other' });
        expect(other.status, `${where}: ${other.error}`).to.equal(200);
        world.newWrites();
        const { status } = await world.answerOf(first);
        const late = countEffects(world.newWrites());
        // One that had not claimed the pool yet claims it when it thaws.
        if (status !== 200) expect(late, where).to.deep.equal({});
        const answer = await world.send(body);
        expect(answer.status, `${where}: ${answer.error}`).to.equal(200);
        await expectDoneOnce(world, body, where);
      }
    });
  }
});

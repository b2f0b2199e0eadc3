import { expect } from 'chai';
import type { Fault, SentCall } from '../simulation/function-instance.ts';
import { countEffects } from '../fixtures/count-writes.ts';
import { nodeNames, countCordoned } from '../fixtures/train-world.ts';
import { toAnswer } from '../fixtures/upstream-answer.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

const cordon = { id: 'a', type: 'cordon_nodepool', node_pool: 'slice-a' };
const restart = { ...cordon, type: 'cordon_nodepool_and_restart_jobset', jobset_name: 'train' };
const repair = { ...cordon, type: 'cordon_and_repair_nodepool' };

/** Says which write of a Lease a call is. */
type IsWrite = (call: SentCall) => boolean;

function leaseOf({ body }: SentCall) {
  const { metadata, spec } = (body ?? {}) as {
    metadata?: { name?: string; annotations?: Record<string, string> };
    spec?: { holderIdentity?: string };
  };
  return {
    name: metadata?.name ?? '',
    annotations: metadata?.annotations ?? {},
    holder: spec?.holderIdentity,
  };
}

function isWrite({ method, path }: SentCall): boolean {
  return method !== 'GET' && /\/leases(\/|$)/.test(path);
}

function annotated(prefix: string, key: string, text: RegExp): IsWrite {
  return (call) => {
    const { name, annotations } = leaseOf(call);
    const { [`autometric-failover/${key}`]: value = '' } = annotations;
    return isWrite(call) && name.startsWith(prefix) && text.test(value);
  };
}

const isTaking: IsWrite = (call) =>
  isWrite(call) && leaseOf(call).name.startsWith('pool-') && leaseOf(call).holder !== undefined;

/** The writes that are sent at the same time. */
const pairs: [string, Record<string, unknown>, IsWrite, IsWrite][] = [
  ['its record and its lock', restart, annotated('action-', 'phase', /claimed/), isTaking],
  [
    'its budget and its plan',
    restart,
    annotated('cluster', 'pools', /./),
    annotated('action-', 'phase', /planned/),
  ],
  [
    'both marks of its restart',
    restart,
    annotated('pool-', 'effects', /begun/),
    annotated('jobset-', 'restart', /begun/),
  ],
  [
    'both marks of its restart, accepted',
    restart,
    annotated('pool-', 'effects', /accepted/),
    annotated('jobset-', 'restart', /accepted/),
  ],
];

/** The instance dies when it sends the write, which never arrives; whatever it sends at the same time does. */
async function dieAt(world: VirtualFailover, body: Record<string, unknown>, isLost: IsWrite): Promise<void> {
  let hasDied = false;
  const fault = (call: SentCall): Fault => {
    if (hasDied || !isLost(call)) return 'none';
    hasDied = true;
    dying.crash();
    return 'never';
  };
  const dying = world.newInstance(0, fault);
  const sent = world.begin(body, dying);
  await world.pass(2);
  expect(sent.answer).to.equal(undefined);
  expect(hasDied, 'it was sent').to.equal(true);
}

function deletions({ emulator }: VirtualFailover): Record<string, number> {
  const { 'DELETE pods': pods = 0, 'PATCH jobs': jobs = 0 } = countEffects(emulator.writes());
  return { pods, jobs };
}

// F-330: whichever of two writes that are sent at the same time is there alone, the action is carried on.
describe('an instance that dies with one of two writes done', () => {
  for (const [what, body, one, other] of pairs) {
    for (const [which, lost] of [
      ['first', one],
      ['second', other],
    ] as const) {
      it(`is made up for by the same request: ${what}, without the ${which}`, async () => {
        const world = new VirtualFailover();
        await dieAt(world, body, lost);
        // The lock of the dead instance expires.
        await world.pass(75);
        expect(await world.send(body, world.newInstance())).to.include({ status: 200 });
        await world.pass(60);
        // No second pod is deleted, and no other Job is ended.
        expect(deletions(world)).to.deep.equal({ pods: 1, jobs: 0 });
        expect(countCordoned(world.cluster, 'slice-a')).to.equal(4);
      });

      it(`keeps nobody out for ever: ${what}, without the ${which}`, async () => {
        const world = new VirtualFailover();
        await dieAt(world, body, lost);
        // Nobody sends it again; it may still be working until its deadline.
        await world.pass(300);
        const next = await world.send({ ...body, id: 'b' }, world.newInstance());
        expect(next.code, next.error).to.be.oneOf([undefined, 'rate_limited']);
        await world.pass(60);
        expect(deletions(world)).to.deep.equal({ pods: 1, jobs: 0 });
      });
    }
  }
});

describe('what is read while the claim is written', () => {
  // F-331: the last holder, or a person, changed the pool between the look at its lock and the lock.
  it('is read again where the lock was not taken from the Lease that was looked at', async () => {
    const world = new VirtualFailover();
    await world.send({ ...cordon, id: 'before', type: 'uncordon_nodepool' });
    world.once(/^PUT .*\/leases\/pool-slice-a$/, () => {
      world.cluster.change('leases', 'autometric-failover-system', 'pool-slice-a', ({ metadata }) => {
        metadata.annotations = { ...metadata.annotations, 'example.com/seen': 'yes' };
      });
      const [first = ''] = nodeNames(world.cluster, 'slice-a');
      world.time.after(6, () => world.cluster.cordonAs('kubectl', first, true));
    });
    world.newWrites();
    const { steps } = await world.send(cordon);
    expect(steps[0]).to.include({ cordoned: 3, already_cordoned: 1 });
    expect(countEffects(world.newWrites())).to.deep.equal({ 'PATCH nodes': 3 });
  });

  // F-331, too: the reads begin once the lock was seen to be free, and not before.
  it('is not read while another action holds the lock', async () => {
    const world = new VirtualFailover();
    const other = world.begin({ ...repair, id: 'other' });
    let isHeld = false;
    world.once(/^PATCH .*\/nodes\//, () => (isHeld = true));
    await world.time.run(() => isHeld);
    const { length } = world.emulator.requests;
    const second = world.begin({ ...cordon, id: 'second' }, world.newInstance());
    await world.answerOf(other);
    const mine = world.emulator.requests.slice(length).map(({ path }) => path);
    expect(mine.filter((path) => path.includes('/leases/cluster'))).to.have.length(1);
    expect(await world.answerOf(second)).to.include({ status: 200 });
  });
});

describe('the plan, which is written while the budget is charged', () => {
  function fillBudget(world: VirtualFailover): void {
    world.cluster.change('leases', 'autometric-failover-system', 'cluster', ({ metadata }) => {
      const pools = JSON.stringify({ other: new Date(world.time.now).toISOString() });
      metadata.annotations = { ...metadata.annotations, 'autometric-failover/pools': pools };
    });
  }

  // F-332: the budget was used up meanwhile, and a plan that nobody may carry out was left.
  it('is taken back where the budget refuses', async () => {
    const world = new VirtualFailover({ environment: { MAX_POOLS_PER_HOUR: '1' } });
    world.once(/^PUT .*\/leases\/cluster$/, () => fillBudget(world));
    expect(await world.send(repair)).to.include({ status: 429, code: 'budget_exceeded' });
    const left = world.cluster.leases().map(({ metadata }) => metadata.name);
    expect(left).to.deep.equal(['cluster', 'refusals']);
    expect(countEffects(world.emulator.writes())).to.deep.equal({});
  });

  // F-332, too: a refusal says that nothing will be done, so it must not be the answer where the plan may be recorded.
  it('is no refusal where nobody knows whether it was recorded', async () => {
    const world = new VirtualFailover({ environment: { MAX_POOLS_PER_HOUR: '1' } });
    world.once(/^PUT .*\/leases\/cluster$/, () => fillBudget(world));
    const path = /\/leases\/action-/;
    world.emulator.faults.add({ method: 'PUT', path, times: Infinity, effect: 'reset_after' });
    const answer = await world.send(repair);
    expect(answer.status).to.be.oneOf([502, 504]);
    expect(countEffects(world.emulator.writes())).to.deep.equal({});
  });
});

describe('the check, which is made while the mark is written', () => {
  const paused = 'autometric-failover/paused';

  // F-333: a person paused failover at the moment of the check, and the mark was left as a deed that nobody had done.
  it('takes the mark back where a person has paused failover', async () => {
    const world = new VirtualFailover();
    world.once(/^PATCH .*\/nodes\//, () => {
      world.cluster.change('leases', 'autometric-failover-system', 'cluster', ({ metadata }) => {
        metadata.annotations = { ...metadata.annotations, [paused]: 'maintenance' };
      });
    });
    expect(await world.send(repair)).to.include({ code: 'paused' });
    expect(
      world.emulator.writes().some(({ api, method }) => api === 'compute' && method === 'DELETE'),
    ).to.equal(false);
    const lease = world.cluster.get('leases', 'autometric-failover-system', 'pool-slice-a');
    expect(lease?.metadata.annotations?.['autometric-failover/effects'] ?? '{}').to.equal('{}');
    expect(lease?.spec.holderIdentity ?? '').to.equal('');
  });

  // F-334: a node joined while the mark was written, and was taken for a replacement of the machine that the mark is about.
  it('cordons a node that joins while the mark is written, before it deletes', async () => {
    const world = new VirtualFailover();
    let hasJoined = false;
    // The check's list is refused for two seconds, so that the node is younger than the mark.
    const path = /\/nodes\?.*unschedulable/;
    const isSchedulable = ({ query }: { query: Record<string, string> }) =>
      query['fieldSelector'] === 'spec.unschedulable!=true';
    world.emulator.faults.add({
      method: 'GET',
      path,
      match: isSchedulable,
      skip: 1,
      effect: toAnswer(429, '2'),
    });
    world.once(/^PATCH .*\/nodes\//, () => {
      world.time.after(1_500, () => {
        world.cluster.joinNode('slice-a');
        hasJoined = true;
      });
    });
    const { status, steps } = await world.send(repair);
    expect(hasJoined).to.equal(true);
    expect(status).to.equal(200);
    expect(steps[0]).to.include({ nodes: 5, cordoned: 5 });
    const writes = world.emulator.writes();
    const deleted = writes.findIndex(({ api, method }) => api === 'compute' && method === 'DELETE');
    const cordons = writes.flatMap(({ method, path }, index) =>
      method === 'PATCH' && /\/nodes\//.test(path) ? [index] : [],
    );
    expect(cordons).to.have.length(5);
    expect(Math.max(...cordons)).to.be.below(deleted);
  });
});

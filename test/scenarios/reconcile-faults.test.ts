import { expect } from 'chai';
import { readConfig } from '../../src/config.ts';
import type { ClusterReport } from '../../src/reconcile/report.ts';
import type { RecordedRequest } from '../emulator/faults.ts';
import { demoCluster } from '../emulator/scenario.ts';
import { expectNoSecrets } from '../fixtures/expect-outcome.ts';
import { faults } from '../fixtures/faulted-call.ts';
import type { FaultKind, FaultName } from '../fixtures/faulted-call.ts';
import { FaultedFunction } from '../fixtures/faulted-function.ts';
import type { TimedAnswer } from '../fixtures/faulted-function.ts';
import { isEvent, isPhase } from '../fixtures/faulted-request.ts';
import { FaultedWorld, scopes, startsAt } from '../fixtures/faulted-world.ts';
import type { WorldOptions } from '../fixtures/faulted-world.ts';
import { PromiseWatch } from '../fixtures/promise-watch.ts';
import { countEffects } from '../fixtures/count-writes.ts';
import { isOpen, jsonOf, noteOf, verdictEvents } from '../fixtures/verdicts.ts';
import { VirtualTime } from '../simulation/virtual-time.ts';

/**
 * What comes of a fault at a call of a reconcile:
 * - `cluster`: the whole cluster cannot be served, and the answer is 502
 * - `action`: this action cannot be looked after; the others can
 * - `waits`: it looks as if somebody else had written the record
 * - `harmless`: the verdict is given all the same
 * - a verdict: the answer says that the object is gone, so it is that
 */
type Outcome = 'cluster' | 'action' | 'waits' | 'harmless' | 'run_ended';

/** One call of a reconcile: a row of the table. */
interface Row {
  title: string;
  action: WorldOptions['action'];
  request: { method: string; path: RegExp; match?: (request: RecordedRequest) => boolean };
  outcome: Outcome;
  /** Where it differs. */
  outcomes?: Partial<Record<FaultName, Outcome>>;
}

const isVerdictWrite = (request: RecordedRequest): boolean =>
  isPhase('done')(request) && /autometric-failover\/verdict/.test(JSON.stringify(request.body));
/** As if somebody else had been first, or had deleted the record. */
const asConflict = { 'status 404': 'waits', 'status 409': 'waits' } as const;

const rows: Row[] = [
  {
    title: 'list the open records',
    action: 'restart',
    request: { method: 'GET', path: /\/leases\?/ },
    outcome: 'cluster',
  },
  {
    title: 'read the JobSet',
    action: 'restart',
    request: { method: 'GET', path: /\/jobsets\/train/ },
    outcome: 'action',
    outcomes: { 'status 404': 'run_ended' },
  },
  {
    title: 'list the pods of the run',
    action: 'restart',
    request: { method: 'GET', path: /\/pods\?/ },
    outcome: 'action',
  },
  {
    title: 'list the cordoned nodes of the pool',
    action: 'restart',
    request: { method: 'GET', path: /\/nodes\?/ },
    outcome: 'action',
  },
  {
    title: 'list the nodes of the pool',
    action: 'repair',
    request: { method: 'GET', path: /\/nodes\?/ },
    outcome: 'action',
  },
  {
    title: 'write the verdict',
    action: 'restart',
    request: { method: 'PUT', path: /\/leases\/action-/, match: isVerdictWrite },
    outcome: 'action',
    outcomes: asConflict,
  },
  {
    title: 'tell of the verdict in an Event',
    action: 'restart',
    request: { method: 'POST', path: /\/events$|\/events\?/, match: isEvent('FailoverRecovered') },
    outcome: 'harmless',
  },
  {
    title: 'close the record',
    action: 'restart',
    request: { method: 'PUT', path: /\/leases\/action-/, match: isPhase('settled') },
    outcome: 'action',
    outcomes: { 'status 404': 'harmless', 'status 409': 'harmless' },
  },
];

/** An Event is waited for 5 s, and is not written later: the record and the log have the verdict. */
const lostAtOnce: FaultName[] = [
  'no answer',
  'status 401',
  'status 403',
  'status 404',
  'status 409',
  'status 429 with Retry-After',
  'status 500 with Retry-After',
];

class Reconciled {
  readonly #time = new VirtualTime(startsAt);
  readonly world: FaultedWorld;
  readonly #function: FaultedFunction;

  constructor(options: WorldOptions) {
    this.world = new FaultedWorld(options, this.#time);
    const { emulator, cluster } = this.world;
    const config = readConfig({ CLUSTERS: demoCluster });
    this.#function = new FaultedFunction({
      time: this.#time,
      emulator,
      token: emulator.tokens.issueToken(scopes).token,
      config,
      watch: new PromiseWatch({ emulator, cluster, time: this.#time, config }),
    });
  }

  /** A world in which nothing was sent yet. */
  static async begin(options: WorldOptions): Promise<Reconciled> {
    const made = new Reconciled(options);
    await made.world.begin(made.#function);
    return made;
  }

  static async afterAction(options: WorldOptions): Promise<Reconciled> {
    const made = await Reconciled.begin(options);
    expect(await made.world.send()).to.include({ status: 200 });
    await made.world.rest(options.action === 'repair' ? 600_000 : 60_000);
    made.world.emulator.requests.length = 0;
    return made;
  }

  async reconcile(): Promise<TimedAnswer & { report: ClusterReport }> {
    const answer = await this.#function.send({}, '/reconcile');
    const [report] = (answer.body as unknown as { clusters: ClusterReport[] }).clusters;
    if (!report) throw new Error('reconcile reported no cluster');
    await this.world.rest(61_000);
    return { ...answer, report };
  }
}

const id = 'incident-1';
const helped = { restart: 'recovered', repair: 'repaired', uncordon: '' };
const events = {
  recovered: 'FailoverRecovered',
  repaired: 'FailoverRepaired',
  run_ended: 'FailoverRunEnded',
};

/** The verdict was given and told once, whatever befell it; nothing was done to the world for it. */
function expectSettled({ world }: Reconciled, verdict: keyof typeof events, hasEvent = true): void {
  expect(jsonOf(world, id, 'verdict')).to.include({ verdict });
  expect(noteOf(world, id, 'phase')).to.equal('settled');
  expect(isOpen(world, id)).to.equal(false);
  expect(verdictEvents(world)).to.deep.equal(hasEvent ? [events[verdict]] : []);
  expect(countEffects(world.emulator.writes())).to.deep.equal({});
  expect(world.log.match(/"event":"verdict"/g) ?? []).to.have.length.within(1, 2);
}

function expectReported(
  { status, report, body }: TimedAnswer & { report: ClusterReport },
  outcome: Outcome,
): void {
  const text = JSON.stringify(body);
  expect(status, text).to.equal(outcome === 'cluster' ? 502 : 200);
  expect(report.errors.length, text).to.equal(['cluster', 'action'].includes(outcome) ? 1 : 0);
  expect(report.waiting, text).to.deep.equal(['action', 'waits'].includes(outcome) ? [id] : []);
}

for (const row of rows) {
  const isWrite = row.request.method !== 'GET';
  describe(`a fault of reconcile: ${row.title}`, () => {
    for (const [name, fault] of Object.entries(faults) as [FaultName, FaultKind][]) {
      if (fault.isApplied && !isWrite) continue;
      const outcome = row.outcomes?.[name] ?? row.outcome;
      const isRetried = fault.outcome === 'retried';

      it(`${name}: a single one is overcome by this reconcile or the next`, async () => {
        const reconciled = await Reconciled.afterAction(row);
        const { world } = reconciled;
        world.emulator.faults.add({ api: 'kubernetes', ...row.request, effect: fault.effect });
        const answer = await reconciled.reconcile();
        expect(world.emulator.requests.filter((request) => request.fault)).to.have.length(1);
        expectNoSecrets(world, [answer]);
        // Where the answer to a write was lost, another try looks like a conflict.
        if (!isRetried) expectReported(answer, outcome);
        await reconciled.reconcile();
        await reconciled.reconcile();
        const verdict = outcome === 'run_ended' ? outcome : helped[row.action];
        const isLost = row.request.method === 'POST' && lostAtOnce.includes(name);
        expectSettled(reconciled, verdict as keyof typeof events, !isLost);
      });

      it(`${name}: while it lasts, it is said, and nothing is done twice`, async () => {
        const reconciled = await Reconciled.afterAction(row);
        const { world } = reconciled;
        const lift = world.emulator.faults.add({
          api: 'kubernetes',
          ...row.request,
          times: Infinity,
          effect: fault.effect,
        });
        const answer = await reconciled.reconcile();
        expect(answer.tookMs, 'ms').to.be.below(300_000);
        expectNoSecrets(world, [answer]);
        if (!fault.isApplied) expectReported(answer, outcome);
        lift();
        await reconciled.reconcile();
        await reconciled.reconcile();
        const verdict = outcome === 'run_ended' ? outcome : helped[row.action];
        const isLost = row.request.method === 'POST' && !fault.isApplied && name !== 'a body that is no JSON';
        expectSettled(reconciled, verdict as keyof typeof events, !isLost);
      });
    }
  });
}

/** Worlds in which a reconcile does more than to look, and what must come of it. */
const works: {
  title: string;
  prepare: () => Promise<Reconciled>;
  expectDone: (world: FaultedWorld, where: string) => void;
}[] = [
  {
    title: 'carries an action on',
    async prepare() {
      const made = await Reconciled.begin({ action: 'restart' });
      const { emulator } = made.world;
      const lift = emulator.faults.add({
        api: 'kubernetes',
        method: 'PATCH',
        path: /\/nodes\//,
        times: Infinity,
        effect: { status: 500 },
      });
      expect(await made.world.send()).to.include({ status: 502 });
      lift();
      await made.world.rest(10_000);
      return made;
    },
    expectDone(world, where) {
      const { verdict } = jsonOf(world, id, 'verdict');
      // A JobSet that is believed to be gone needs no restart.
      expect(verdict, where).to.be.oneOf(['recovered', 'abandoned', ...(isGone(where) ? [undefined] : [])]);
      const { restarts, repairs } = world.effects();
      expect({ restarts, repairs }, where).to.deep.equal({
        restarts: verdict === 'recovered' ? 1 : 0,
        repairs: 0,
      });
    },
  },
  {
    title: 'repairs after a restart that did not help',
    async prepare() {
      const made = await Reconciled.begin({ action: 'restart' });
      for (const { metadata } of made.world.cluster.nodes('slice-b')) {
        made.world.cluster.cordonAs('test', metadata.name, true);
      }
      const action = { ...made.world.action, on_failure: 'cordon_and_repair_nodepool' };
      expect(await made.world.send(action)).to.include({ status: 200 });
      await made.world.rest(1_201_000);
      return made;
    },
    expectDone(world, where) {
      const { verdict } = jsonOf(world, id, 'verdict');
      const { outcome } = jsonOf(world, id, 'follow-up');
      const { restarts, repairs } = world.effects();
      expect(restarts, where).to.equal(1);
      if (isGone(where) && verdict === 'run_ended') {
        expect({ outcome, repairs }).to.deep.equal({ outcome: undefined, repairs: 0 });
        return;
      }
      expect(verdict, where).to.equal('not_recovered');
      // What was refused stays refused; a repair that was done is never done again.
      const next = jsonOf(world, `${id}.on-failure`, 'verdict')['verdict'];
      expect(outcome, where).to.be.oneOf(['done', 'begun', 'refused', 'not_needed']);
      expect(repairs, where).to.equal(next === 'repaired' ? 1 : 0);
    },
  },
  {
    title: 'uncordons after a repair',
    async prepare() {
      const made = await Reconciled.begin({ action: 'repair' });
      const action = { ...made.world.action, uncordon_when_repaired: true };
      expect(await made.world.send(action)).to.include({ status: 200 });
      await made.world.rest(600_000);
      // Somebody has the function cordon the machines that came anew.
      expect(await made.world.send({ ...made.world.action, id: 'c', type: 'cordon_nodepool' })).to.include({
        status: 200,
      });
      return made;
    },
    expectDone(world, where) {
      expect(jsonOf(world, id, 'verdict'), where).to.include({ verdict: 'repaired' });
      expect(world.effects(), where).to.include({ repairs: 1 });
      const { outcome } = jsonOf(world, id, 'follow-up');
      const isReleased = world.cluster.nodes('slice-a').every(({ spec }) => spec.unschedulable !== true);
      if (outcome === 'done') expect(isReleased, where).to.equal(true);
      else expect(outcome, where).to.be.oneOf(['begun', 'refused', 'not_needed']);
    },
  },
];

/** The fault made the JobSet look as if it were gone. */
function isGone(where: string): boolean {
  return /^status 404: GET .*jobsets/.test(where);
}

const struckOnce: FaultName[] = [
  'reset after it was carried out',
  'no answer',
  'no answer, carried out',
  'status 403',
  'status 404',
  'status 409',
  'status 429',
  'status 500',
  'a body that is another object',
];

for (const { title, prepare, expectDone } of works) {
  describe(`a reconcile that ${title}`, () => {
    for (const name of struckOnce) {
      it(`${name}: ends in a verdict, and does nothing twice, whichever of its calls it befell`, async () => {
        let isOver = false;
        for (let skip = 0; !isOver; skip++) {
          const reconciled = await prepare();
          const { world } = reconciled;
          world.emulator.requests.length = 0;
          const lift = world.emulator.faults.add({ skip, effect: faults[name].effect });
          const first = await reconciled.reconcile();
          lift();
          const struck = world.emulator.requests.find((request) => request.fault);
          isOver = struck === undefined;
          const where = `${name}: ${struck?.method} ${struck?.path}`;
          expectNoSecrets(world, [first]);
          // A repair may take half an hour.
          let { report } = await reconciled.reconcile();
          for (let minute = 0; minute < 40 && report.open > 0; minute++) {
            ({ report } = await reconciled.reconcile());
          }
          expect(report, where).to.deep.include({ open: 0, errors: [] });
          expectDone(world, where);
          expect(verdictEvents(world).length, where).to.equal(new Set(verdictEvents(world)).size);
        }
      });
    }
  });
}

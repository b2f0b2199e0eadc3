import type { Action } from '../../src/request/action.ts';
import { FailoverError } from '../../src/errors.ts';
import { Ignored } from '../../src/ignored.ts';
import { resetIds } from './fixed-chance.ts';
import type { DecisionKind, Schedule } from './schedule.ts';
import { TurnWorld } from './turn-world.ts';
import type { TurnWorldOptions } from './turn-world.ts';
import type { Actor, Turn } from './turn-actor.ts';

/** Two actors whose turns are put in every order, and what must come of it. */
export interface Situation {
  name: string;
  world?: TurnWorldOptions;
  /** Runs before them, alone, and may die; then 75 s pass, unless it is said. */
  before?: (world: TurnWorld) => Actor;
  afterMs?: number;
  actors: (world: TurnWorld) => [Actor, Actor];
  /** The actions that must come to an end. */
  actions: (world: TurnWorld) => Action[];
  /** What ends them once the faults have stopped: the same ids, sent again, or reconcile alone. */
  finish: 'redelivery' | 'reconcile';
}

/** Where a schedule may decide something. */
export interface Point {
  step: number;
  /** What has happened before, whichever order of it was the same. */
  key: string;
  options: DecisionKind[];
}

export interface ScheduleResult {
  violations: string[];
  story: string[];
  /** How many steps there were. */
  steps: number;
  /** It was left because it had come to what another schedule has come to. */
  isLeft: boolean;
  /** What came of it, to compare with other orders of the same turns. */
  outcome: string;
}

const frozenMs = 75_000;
const before = 2;

/** Runs a schedule; asks at each step after its last decision whether to go on. */
export async function runSchedule(
  situation: Situation,
  schedule: Schedule,
  goesOn: (point: Point) => boolean = () => true,
): Promise<ScheduleResult> {
  resetIds();
  const run = new ScheduleRun(situation, schedule, goesOn);
  const isComplete = await run.turns();
  if (isComplete) await run.finish();
  return run.conclude(!isComplete);
}

class ScheduleRun {
  readonly #world: TurnWorld;
  readonly #situation: Situation;
  readonly #schedule: Schedule;
  readonly #goesOn: (point: Point) => boolean;
  readonly #actors: Actor[];
  readonly #hasBegun = [false, false, false];
  readonly #reads = new Map<string, number>();
  readonly #hasWritten = [false, false, false];
  #current: number;
  #isPreemptible = false;
  #step = 0;
  #writes = 0;
  #finishing = 0;

  constructor(situation: Situation, schedule: Schedule, goesOn: (point: Point) => boolean) {
    this.#situation = situation;
    this.#schedule = schedule;
    this.#goesOn = goesOn;
    this.#world = new TurnWorld(situation.world ?? {});
    this.#actors = situation.actors(this.#world);
    const first = situation.before?.(this.#world);
    if (first) this.#actors[before] = first;
    this.#current = first ? before : schedule.first;
  }

  /** Runs the turns of the actors. @returns false where it was left */
  async turns(): Promise<boolean> {
    const decisions = [...this.#schedule.decisions];
    await this.#begin();
    for (;;) {
      if (!(await this.#findNext())) return true;
      const turn = this.#actor.next;
      if (!turn) continue;
      const [decision] = decisions;
      if (!decision && !this.#goesOn(this.#toPoint(turn))) return false;
      const isDecided = decision?.step === this.#step;
      if (isDecided) decisions.shift();
      this.#step++;
      if (isDecided && decision.kind !== 'lose') await this.#decide(decision.kind);
      else await this.#take(turn, isDecided);
    }
  }

  /** In fair weather every action comes to an end. */
  async finish(): Promise<void> {
    const world = this.#world;
    this.#checkLocks();
    const { finish } = this.#situation;
    world.unpause();
    world.pass(frozenMs);
    if (finish === 'redelivery') {
      for (const action of this.#situation.actions(world)) await this.#bringToAnEnd(action);
    }
    await this.#reconcileUntilSettled();
    world.pass(frozenMs);
    for (const lock of world.listLocks()) world.invariants.violate('lock-ends', lock);
  }

  conclude(isLeft: boolean): ScheduleResult {
    const { invariants, story } = this.#world;
    const violations = isLeft ? invariants.violations : invariants.conclude();
    const answers = story.map((line) => line.replace(/^\S+ s /, '')).sort();
    const writes = invariants.calls
      .filter(({ method, status = 0 }) => method !== 'GET' && status < 300)
      .map(({ actionId, method, path }) => `${actionId} ${method} ${path}`)
      .sort();
    return {
      violations: [...violations],
      story,
      steps: this.#step,
      isLeft,
      outcome: [...answers, ...writes].join('\n'),
    };
  }

  get #actor(): Actor {
    const actor = this.#actors[this.#current];
    if (!actor) throw new Error(`there is no actor ${this.#current}`);
    return actor;
  }

  async #begin(): Promise<void> {
    this.#isPreemptible = false;
    if (this.#hasBegun[this.#current]) return;
    this.#hasBegun[this.#current] = true;
    this.#actor.begin();
    await settle();
  }

  /** Finds whose turn it is. @returns false once nobody has anything left to do */
  async #findNext(): Promise<boolean> {
    if (this.#actor.next) return true;
    if (this.#current === before) {
      this.#world.pass(this.#situation.afterMs ?? frozenMs);
      this.#current = this.#schedule.first;
      await this.#begin();
      return true;
    }
    const other = 1 - this.#current;
    if (this.#hasBegun[other] && !this.#actors[other]?.next) return false;
    this.#current = other;
    await this.#begin();
    return true;
  }

  #toPoint(turn: Turn): Point {
    const { isCall, isWrite } = turn;
    const options: DecisionKind[] = [];
    const actor = this.#current;
    const { isFunction, holdsLock } = this.#actor;
    const mayDie = isFunction && isCall;
    if (isCall && this.#isPreemptible && this.#isOtherAlive() && !this.#isKnown(turn)) {
      options.push('switch');
      // Whoever holds the lock has lost it afterwards, so it makes no difference which of its reads it had heard.
      if (isFunction && (!holdsLock || isWrite || this.#hasWritten[actor])) options.push('freeze');
    }
    // Whether it has read something before it dies makes no difference to anybody.
    if (mayDie && this.#hasWritten[actor]) options.push('die');
    if (mayDie && isWrite) options.push('lose');
    const flags = [actor, this.#isPreemptible, ...this.#hasBegun, ...this.#hasWritten].map(Number).join('');
    return { step: this.#step, key: `${flags} ${this.#world.toKey(this.#actors)}`, options };
  }

  #isOtherAlive(): boolean {
    if (this.#current === before) return false;
    const other = 1 - this.#current;
    return !this.#hasBegun[other] || this.#actors[other]?.next !== undefined;
  }

  async #decide(kind: 'switch' | 'freeze' | 'die'): Promise<void> {
    const { name } = this.#actor;
    this.#tell(kind === 'switch' ? `${name} has to wait` : `${name} ${kind}s`);
    if (kind === 'die') {
      this.#actor.die();
      return;
    }
    if (kind === 'freeze') {
      this.#actor.freeze();
      this.#world.pass(frozenMs);
    }
    this.#current = 1 - this.#current;
    await this.#begin();
  }

  async #take(turn: Turn, isAnswerLost: boolean): Promise<void> {
    const actor = this.#current;
    if (turn.at > this.#world.now) this.#world.pass(turn.at - this.#world.now);
    if (turn.isCall) {
      this.#tell(`${this.#actor.name} ${turn.label}${isAnswerLost ? ', and loses the answer' : ''}`);
      this.#hasWritten[actor] = turn.isWrite;
      this.#isPreemptible = true;
    } else this.#world.keys.onTurn(this.#actor, turn.label);
    if (turn.isWrite) this.#writes++;
    else if (turn.isCall) this.#reads.set(`${actor} ${turn.label}`, this.#writes);
    this.#actor.take(isAnswerLost);
    await settle();
  }

  /** The actor has read the same before, and nobody has written anything since. */
  #isKnown({ label, isWrite }: Turn): boolean {
    return !isWrite && this.#reads.get(`${this.#current} ${label}`) === this.#writes;
  }

  /** A lock that nobody was kept from giving back is given back. */
  #checkLocks(): void {
    const { decisions } = this.#schedule;
    if (decisions.some(({ kind }) => kind === 'die' || kind === 'lose')) return;
    const wasFrozen = decisions.some(({ kind }) => kind === 'freeze');
    for (const lock of this.#world.listLocks(!wasFrozen)) {
      this.#world.invariants.violate('lock-ends', `${lock}, though everybody has ended`);
    }
  }

  /** Sends an action until it is done or refused for good. Another one's mark keeps it waiting no longer than the cooldown. */
  async #bringToAnEnd(action: Action): Promise<void> {
    const world = this.#world;
    const giveUpAt = world.now + world.config.cooldownSeconds * 1000 + 60_000;
    for (;;) {
      const sent = world.request(action, `${action.id} again`);
      const { error } = await this.#runAlone(sent);
      if (!error || error instanceof Ignored) return;
      if (!(error instanceof FailoverError)) return;
      if (error.status < 500 && error.code !== 'action_in_progress') return;
      const waitMs = Number(error.headers['Retry-After'] ?? 60) * 1000;
      if (!error.message.includes(' was begun at ') || world.now + waitMs > giveUpAt) {
        world.invariants.violate('actions-end', `${action.id} does not come to an end: ${error.message}`);
        return;
      }
      world.pass(waitMs);
    }
  }

  async #reconcileUntilSettled(): Promise<void> {
    const world = this.#world;
    const { recoveryTimeoutSeconds, repairTimeoutSeconds } = world.config;
    const giveUpAt = world.now + (recoveryTimeoutSeconds + repairTimeoutSeconds) * 2000;
    while (world.listOpen().length > 0) {
      if (world.now > giveUpAt) {
        world.invariants.violate('actions-settle', `reconcile leaves ${world.listOpen().join(', ')} open`);
        return;
      }
      world.pass(60_000);
      await this.#runAlone(world.reconcile(`reconcile ${++this.#finishing}`));
    }
  }

  async #runAlone(actor: Actor): Promise<{ error?: Error }> {
    const world = this.#world;
    actor.begin();
    await settle();
    for (let turn = actor.next; turn; turn = actor.next) {
      if (turn.at > world.now) world.pass(turn.at - world.now);
      actor.take();
      await settle();
    }
    const ended = world.ended.get(actor);
    if (!ended) world.invariants.violate('actions-end', `${actor.name} hangs`);
    return ended ?? {};
  }

  #tell(what: string): void {
    this.#world.story.push(`${String(this.#step - 1).padStart(4)} ${what}`);
  }
}

/** Lets every promise that can go on do so. */
async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

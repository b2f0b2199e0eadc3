/** Holds a history against the promises: each lane against all of them, as the random and the exhaustive suites do. */
import { toAlert } from '../../src/alert/alert.ts';
import { readAlert } from '../../src/alert/log-entry.ts';
import type { Config } from '../../src/config.ts';
import { FailoverError } from '../../src/errors.ts';
import { Ignored } from '../../src/ignored.ts';
import { parseAction } from '../../src/request/action.ts';
import type { Action } from '../../src/request/action.ts';
import type { RecordedStep } from '../../src/step.ts';
import type { SentCall } from '../simulation/function-instance.ts';
import { Invariants } from '../simulation/invariants.ts';
import { Limits } from '../simulation/limits.ts';
import type { PromiseId } from '../simulation/promises.ts';
import { Callers } from './chaos-callers.ts';
import type { Entry, Sent } from './chaos-history.ts';
import type { Lane } from './chaos-lanes.ts';
import { ChaosWorld, viewLane } from './chaos-view.ts';

/** What cannot be judged by what the proxies see, and why. */
export const notJudged: Partial<Record<PromiseId, string>> = {
  'one-hand': 'not for what reconcile carries on: one reconcile looks at the operations for several actions',
  'cordon-first': 'not for actions that began before a person released a node of their pool',
  'one-restart-a-cooldown':
    'a deletion that the API server carried out as it was killed counts as none, because nobody was answered',
  'attempts-end': 'only within the time of the run',
  'lock-ends': 'only at the end of the run',
  'errors-are-chosen': 'what an instance logs in the moment in which it is killed may be lost',
};

export interface Judgement {
  /** What was broken, in a sentence each; empty when all is well. */
  violations: string[];
  /** Each call as it was understood, by its number. */
  calls: Map<number, SentCall>;
  unknownSessions: number;
}

export function judge(entries: Entry[], lanes: Lane[], config: Config): Judgement {
  const judging = new Judging(entries, lanes, config);
  for (const entry of entries) judging.take(entry);
  return judging.conclude();
}

class Judging {
  readonly #violations: string[] = [];
  readonly #calls = new Map<number, SentCall>();
  readonly #lanes: Lane[];
  readonly #config: Config;
  readonly #callers: Callers;
  readonly #world = new ChaosWorld();
  readonly #time = { now: 0 };
  readonly #limits: Limits;
  readonly #invariants = new Map<Lane, Invariants>();
  readonly #actions = new Map<string, Action>();

  constructor(entries: Entry[], lanes: Lane[], config: Config) {
    this.#lanes = lanes;
    this.#config = config;
    this.#callers = new Callers(entries, lanes);
    this.#limits = new Limits(Number(config.maxPoolsPerHour), (promise, what) =>
      this.#violate(promise, what),
    );
  }

  take(entry: Entry): void {
    this.#time.now = entry.at;
    switch (entry.kind) {
      case 'begin':
        return this.#begin();
      case 'call': {
        const call = this.#callers.toSentCall(entry);
        if (entry.fault !== undefined) call.isUnheard = true;
        this.#calls.set(entry.call, call);
        for (const lane of this.#callers.lanesOf(call)) this.#invariants.get(lane)?.onSend(call);
        return undefined;
      }
      case 'carried_out': {
        const call = this.#calls.get(entry.call);
        // Of one that was carried out twice, the first time counts.
        if (call) call.status ??= entry.status;
        return undefined;
      }
      case 'delivery':
        return this.#onDelivery(entry);
      case 'answer':
        return this.#onAnswer(entry);
      case 'pause':
        return this.#limits.onPause(entry.isOn ? entry.at : undefined);
      case 'approval':
        return this.#of(entry.action)?.approvals.onApproval(entry.action, entry.plan);
      case 'person': {
        const lane = this.#lanes.find(({ pools }) => pools.includes(entry.pool));
        return lane && this.#invariants.get(lane)?.onDisturbance(entry.what, entry.pool, entry.node);
      }
      case 'log':
        return this.#checkLog(entry.line);
      case 'object':
      case 'cordoned':
      case 'machine':
      case 'deletion':
      case 'gke':
        if (this.#world.take(entry)) for (const each of this.#invariants.values()) each.observe();
        return undefined;
      case 'session':
      case 'connected':
      case 'trouble':
      case 'fair':
        // What becomes of them is told by other entries.
        return undefined;
    }
  }

  conclude(): Judgement {
    for (const each of this.#invariants.values()) this.#violations.push(...each.conclude());
    const unknownSessions = this.#callers.unknownSessions.size;
    return { violations: [...new Set(this.#violations)], calls: this.#calls, unknownSessions };
  }

  #begin(): void {
    for (const lane of this.#lanes) {
      const view = viewLane(this.#world, lane);
      const config = this.#config;
      const options = { emulator: view, cluster: view, time: this.#time, config, limits: this.#limits };
      this.#invariants.set(lane, new Invariants(options));
    }
  }

  #onDelivery({ delivery, what, at }: Extract<Entry, { kind: 'delivery' }>): void {
    const action = this.#toAction(what, at);
    const decided =
      typeof what === 'object' && 'decision' in what ? (what.decision as { id: string }).id : undefined;
    this.#callers.onDelivery(delivery, what === 'reconcile' ? what : (action?.id ?? decided ?? 'unknown'));
    if (!action) return;
    this.#actions.set(delivery, action);
    this.#of(action.id)?.onAction(action);
  }

  #onAnswer({ delivery, status, text }: Extract<Entry, { kind: 'answer' }>): void {
    const action = this.#actions.get(delivery);
    if (status === undefined || !text.startsWith('{')) return;
    const body = JSON.parse(text) as {
      steps?: RecordedStep[];
      ignored?: string;
      code?: string;
      error?: string;
    };
    if (body.code === 'internal') this.#violate('errors-are-chosen', `${delivery} was answered ${text}`);
    if (!action || status !== 200) return;
    if (body.ignored !== undefined) this.#of(action.id)?.onIgnored(action, body.ignored);
    else if (body.steps) this.#of(action.id)?.onDone(action, body.steps);
  }

  #toAction(what: Sent, at: number): Action | undefined {
    const { clusters } = this.#config;
    try {
      if (what === 'reconcile' || 'decision' in what) return undefined;
      if ('action' in what) return withCaller(parseAction(what.action, clusters, 'generated'));
      return toAlert(readAlert(what.alert, {}), this.#config, at).action;
    } catch (error) {
      if (error instanceof FailoverError || error instanceof Ignored) return undefined;
      throw error;
    }
  }

  #checkLog(line: string): void {
    if (!line.includes('"stack_trace"')) return;
    this.#violate('errors-are-chosen', `an instance logged ${line}`);
  }

  #of(actionId: string): Invariants | undefined {
    const lane = this.#callers.laneOf(actionId);
    return lane && this.#invariants.get(lane);
  }

  #violate(promise: PromiseId, what: string): void {
    this.#violations.push(`${promise}: ${what}`);
  }
}

function withCaller(action: Action): Action {
  return action.approval === 'required' ? { ...action, caller: 'asker@example.com' } : action;
}

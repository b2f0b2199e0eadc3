import { Deadline } from '../../src/clock.ts';
import type { Clock } from '../../src/clock.ts';
import type { Config } from '../../src/config.ts';
import type { HttpResponse as ReceivedResponse } from '../../src/gke/transport.ts';
import type { Services } from '../../src/services.ts';
import type { Emulator } from '../emulator/emulator.ts';
import { splitPath } from '../emulator/http.ts';
import type { HttpResponse } from '../emulator/http.ts';
import { createVirtualServices, toNetworkError, toTimeout } from '../fixtures/virtual-services.ts';
import type { SentRequest } from '../fixtures/virtual-services.ts';
import type { SentCall } from './function-instance.ts';

/** What an actor does next. */
export interface Turn {
  label: string;
  /** A call to an API, or a deed of a person; else it only goes on: time passes, or an answer is heard. */
  isCall: boolean;
  isWrite: boolean;
  /** When it goes on, in ms since the epoch; in the past if at once. */
  at: number;
}

/** Somebody whose turns a schedule puts in an order: a request to the function, a reconcile, or a person. */
export interface Actor {
  readonly name: string;
  /** An instance of the function may die or lose an answer; a person does not. */
  readonly isFunction: boolean;
  /** The lock of a pool, as far as it knows. */
  readonly holdsLock: boolean;
  /** Its next turn. Undefined before it has begun, and once there is nothing left to do. */
  readonly next: Turn | undefined;
  begin(): void;
  /** Takes its turn, and hears the answer unless that is lost. */
  take(isAnswerLost?: boolean): void;
  /** What it has sent arrives now, and it hears the answers only when it goes on. */
  freeze(): void;
  die(): void;
}

/** The part of the world that an actor acts on. */
export interface Stage {
  readonly now: number;
  readonly emulator: Emulator;
  readonly config: Config;
  /** A call arrives. */
  onCall(call: SentCall): void;
  /** A call was carried out. */
  onCarriedOut(call: SentCall): void;
  /** An actor hears, or will hear, what came of a call. */
  onAnswer(actor: Actor, label: string, answer: ReceivedResponse | 'lost' | 'late'): void;
}

interface Pending {
  call: SentCall;
  /** With the query. */
  label: string;
  timeoutMs: number;
  sentAt: number;
  carryOut: () => HttpResponse;
  resolve: (answer: ReceivedResponse) => void;
  reject: (error: Error) => void;
}

/** One invocation of the function, which goes on only when it is its turn. */
export class FunctionActor implements Actor {
  readonly isFunction = true;
  readonly name: string;
  readonly #stage: Stage;
  readonly #run: (services: Services, deadline: Deadline) => Promise<void>;
  readonly #invocation: number;
  readonly #ownId: string;
  #calls: Pending[] = [];
  #sleeps: { until: number; wake: () => void }[] = [];
  #unheard: (() => void)[] = [];
  #isDead = false;
  /** The action whose lock it holds: a reconcile carries on several. */
  #carriedId: string | undefined;

  constructor(
    stage: Stage,
    { name, id, invocation }: { name: string; id: string; invocation: number },
    run: (services: Services, deadline: Deadline) => Promise<void>,
  ) {
    this.name = name;
    this.#stage = stage;
    this.#ownId = id;
    this.#invocation = invocation;
    this.#run = run;
  }

  get next(): Turn | undefined {
    if (this.#isDead) return undefined;
    const going = { isCall: false, isWrite: false };
    if (this.#unheard.length > 0) return { ...going, label: 'hears the answers', at: 0 };
    const [pending] = this.#calls;
    if (pending) {
      const { call, label } = pending;
      return { label, isCall: true, isWrite: call.method !== 'GET', at: 0 };
    }
    const sleep = this.#firstSleep();
    return sleep && { ...going, label: 'goes on', at: sleep.until };
  }

  get holdsLock(): boolean {
    return this.#carriedId !== undefined;
  }

  begin(): void {
    const clock: Clock = {
      now: () => this.#stage.now,
      sleep: (ms) => new Promise((wake) => void this.#sleeps.push({ until: this.#stage.now + ms, wake })),
    };
    const { config, emulator } = this.#stage;
    const services = createVirtualServices({
      config,
      clock,
      emulator,
      travel: (sent, carryOut) => this.#send(sent, carryOut),
    });
    // What it answers, or throws, is noted by `run` itself.
    void this.#run(services, new Deadline(clock, config.actionDeadlineSeconds * 1000));
  }

  take(isAnswerLost = false): void {
    if (this.#unheard.length > 0) {
      const unheard = this.#unheard.splice(0);
      for (const hear of unheard) hear();
      return;
    }
    const pending = this.#calls.shift();
    if (pending) {
      this.#carryOut(pending, isAnswerLost)();
      return;
    }
    const sleep = this.#firstSleep();
    this.#sleeps = this.#sleeps.filter((each) => each !== sleep);
    sleep?.wake();
  }

  freeze(): void {
    for (const pending of this.#calls.splice(0)) this.#unheard.push(this.#carryOut(pending, false));
  }

  die(): void {
    this.#isDead = true;
  }

  #firstSleep(): { until: number; wake: () => void } | undefined {
    return this.#sleeps.reduce<{ until: number; wake: () => void } | undefined>(
      (first, each) => (first && first.until <= each.until ? first : each),
      undefined,
    );
  }

  #send(
    { api, method, path, body, timeoutMs }: SentRequest,
    carryOut: () => HttpResponse,
  ): Promise<ReceivedResponse> {
    const call: SentCall = {
      invocation: this.#invocation,
      actionId: this.#carriedId ?? this.#ownId,
      api,
      method,
      path: api === 'kubernetes' ? splitPath(path).pathname : path,
      body: body === '' ? undefined : (JSON.parse(body) as unknown),
      at: this.#stage.now,
    };
    const sentAt = this.#stage.now;
    return new Promise((resolve, reject) => {
      this.#calls.push({ call, label: `${method} ${path}`, timeoutMs, sentAt, carryOut, resolve, reject });
    });
  }

  /** @returns what lets the actor hear the answer */
  #carryOut(pending: Pending, isAnswerLost: boolean): () => void {
    const { call, label, timeoutMs, sentAt, resolve, reject } = pending;
    // It was given up long ago.
    if (this.#stage.now - sentAt > timeoutMs) {
      this.#stage.onAnswer(this, label, 'late');
      return () => reject(toTimeout(timeoutMs));
    }
    call.at = this.#stage.now;
    call.actionId = this.#carriedId ?? this.#ownId;
    this.#stage.onCall(call);
    const { status, headers, body } = pending.carryOut();
    call.status = status;
    this.#noteLock(call);
    this.#stage.onCarriedOut(call);
    this.#stage.onAnswer(this, label, isAnswerLost ? 'lost' : { status, headers, body });
    return isAnswerLost ? () => reject(toNetworkError()) : () => resolve({ status, headers, body });
  }

  #noteLock({ method, path, body, status = 0 }: SentCall): void {
    if (method === 'GET' || status >= 300 || !/\/leases(\/pool-|$)/.test(path)) return;
    const { metadata, spec } = (body ?? {}) as {
      metadata?: { name?: string };
      spec?: { holderIdentity?: string };
    };
    if (metadata?.name?.startsWith('pool-')) this.#carriedId = spec?.holderIdentity?.split('/')[0];
  }
}

/** A person, who does one thing after the other. */
export class PersonActor implements Actor {
  readonly isFunction = false;
  readonly holdsLock = false;
  readonly name: string;
  #left: { label: string; happen: () => void }[];
  #hasBegun = false;

  constructor(name: string, deeds: { label: string; happen: () => void }[]) {
    this.name = name;
    this.#left = [...deeds];
  }

  get next(): Turn | undefined {
    const [deed] = this.#left;
    if (!deed || !this.#hasBegun) return undefined;
    return { label: deed.label, isCall: true, isWrite: true, at: 0 };
  }

  begin(): void {
    this.#hasBegun = true;
  }

  take(): void {
    this.#left.shift()?.happen();
  }

  freeze(): void {}

  die(): void {
    this.#left = [];
  }
}

import { Deadline } from '../../src/clock.ts';
import type { Clock } from '../../src/clock.ts';
import type { Config } from '../../src/config.ts';
import { toRequestId } from '../../src/effects/delete-machine.ts';
import { actOnAlert } from '../../src/failover/act-on-alert.ts';
import { failover } from '../../src/failover/failover.ts';
import type { Outcome } from '../../src/failover/failover.ts';
import type { Action } from '../../src/request/action.ts';
import { createLog } from '../../src/log.ts';
import { decideApproval } from '../../src/reconcile/approve.ts';
import type { Decider, Rejected } from '../../src/reconcile/approve.ts';
import { reconcile } from '../../src/reconcile/reconcile.ts';
import type { ClusterReport } from '../../src/reconcile/report.ts';
import type { Services } from '../../src/services.ts';
import type { HttpResponse as ReceivedResponse } from '../../src/gke/transport.ts';
import type { Emulator } from '../emulator/emulator.ts';
import { ConnectionLost, NeverAnswered, splitPath } from '../emulator/http.ts';
import type { HttpResponse } from '../emulator/http.ts';
import { createVirtualServices, toNetworkError, toTimeout } from '../fixtures/virtual-services.ts';
import type { SentRequest } from '../fixtures/virtual-services.ts';
import type { VirtualTime } from './virtual-time.ts';

/** What a request does on its way. */
export interface Weather {
  /** Milliseconds that a request takes to arrive, and its answer to come back. */
  latency: () => number;
  /** What befalls the next request. */
  fault: (call: SentCall) => Fault;
  /** What an answer says instead of what was answered. */
  distort?: (call: SentCall, answer: ReceivedResponse) => ReceivedResponse;
}

export type Fault =
  | 'none'
  | 'lost_before'
  | 'lost_after'
  | 'refused_429'
  | 'refused_409'
  | 'failed_500'
  | 'failed_503'
  | 'never';

/** One request of one invocation, when it is sent. */
export interface SentCall {
  invocation: number;
  actionId: string;
  api: SentRequest['api'];
  method: string;
  path: string;
  body: unknown;
  at: number;
  /** What was answered on arrival, also where the answer was then lost; undefined while under way. */
  status?: number;
  /** The answer was lost, or may have come too late: whoever sent the call may not know of it. */
  isUnheard?: boolean;
}

type Invocation = Pick<SentCall, 'invocation' | 'actionId'>;

/**
 * One instance of the function in virtual time: the real pipeline over the emulator, without sockets. While it is
 * frozen nothing reaches it, neither answers nor timers, as with an instance that is throttled; once it has crashed
 * nothing ever does.
 */
export class FunctionInstance {
  readonly #time: VirtualTime;
  readonly #emulator: Emulator;
  readonly #weather: Weather;
  #skewMs: number;
  readonly #onSend: (call: SentCall) => void;
  readonly #token: string;
  #frozenUntil = 0;
  #isDead = false;
  static #invocations = 0;

  constructor(options: {
    time: VirtualTime;
    emulator: Emulator;
    token: string;
    weather: Weather;
    skewMs: number;
    onSend: (call: SentCall) => void;
  }) {
    this.#time = options.time;
    this.#emulator = options.emulator;
    this.#token = options.token;
    this.#weather = options.weather;
    this.#skewMs = options.skewMs;
    this.#onSend = options.onSend;
  }

  freeze(ms: number): void {
    this.#frozenUntil = Math.max(this.#frozenUntil, this.#time.now + ms);
  }

  /** Its clock is set forward, as after a suspension. */
  setForward(ms: number): void {
    this.#skewMs += ms;
  }

  crash(): void {
    this.#isDead = true;
  }

  /** Sends an action through the pipeline; never settles if the instance dies meanwhile. */
  async invoke(action: Action, config: Config): Promise<Outcome> {
    const clock = this.#createClock();
    const services = this.#createServices(config, clock, action.id);
    const deadline = new Deadline(clock, config.actionDeadlineSeconds * 1000);
    const log = createLog(() => undefined);
    const { incident } = action;
    if (!incident) return failover(action, deadline, services, log);
    const alert = { action: { ...action, incident }, clusters: config.clusters };
    return actOnAlert(alert, deadline, services, log);
  }

  /** Approves or rejects an action; never settles if the instance dies meanwhile. */
  async decide(decision: Decider, config: Config): Promise<Outcome | Rejected> {
    const clock = this.#createClock();
    const services = this.#createServices(config, clock, decision.id);
    const deadline = new Deadline(clock, config.actionDeadlineSeconds * 1000);
    return decideApproval(
      decision,
      deadline,
      services,
      createLog(() => undefined),
    );
  }

  /** Looks after what is open, as Cloud Scheduler has it do; never settles if the instance dies meanwhile. */
  async reconcile(config: Config, write: (line: string) => void = () => undefined): Promise<ClusterReport[]> {
    const clock = this.#createClock();
    const services = this.#createReconcileServices(config, clock);
    const deadline = new Deadline(clock, config.actionDeadlineSeconds * 1000);
    return reconcile(deadline, services, createLog(write));
  }

  #createServices(config: Config, clock: Clock, actionId: string): Services {
    const invocation = FunctionInstance.#invocations++;
    return createVirtualServices({
      config,
      clock,
      emulator: this.#emulator,
      token: this.#token,
      travel: (sent, carryOut) => this.#send(sent, carryOut, { invocation, actionId }),
    });
  }

  /** Each action that a reconcile carries on has a connection of its own, and so is an invocation of its own. */
  #createReconcileServices(config: Config, clock: Clock): Services {
    const invocations: Invocation[] = [];
    const begin = () => {
      const begun = { invocation: FunctionInstance.#invocations++, actionId: 'reconcile' };
      invocations.push(begun);
      return begun;
    };
    const options = { config, clock, emulator: this.#emulator, token: this.#token };
    const base = begin();
    const services = createVirtualServices({
      ...options,
      travel: (sent, carryOut) =>
        this.#send(sent, carryOut, invocations.find(({ actionId }) => isDeletionBy(actionId, sent)) ?? base),
    });
    let isFirst = true;
    return {
      ...services,
      connect: (name, deadline) => {
        const own = isFirst ? base : begin();
        isFirst = false;
        const connecting = createVirtualServices({
          ...options,
          travel: (sent, carryOut) => {
            if (own !== base) own.actionId = readRecordedId(sent) ?? own.actionId;
            return this.#send(sent, carryOut, own);
          },
        });
        return connecting.connect(name, deadline);
      },
    };
  }

  #createClock(): Clock {
    return {
      now: () => this.#time.now + this.#skewMs,
      sleep: (ms) => new Promise((resolve) => this.#deliverAfter(ms, () => resolve())),
    };
  }

  /** Lets something reach the instance: later if it is frozen, never if it is dead. */
  #deliverAfter(ms: number, deliver: () => void): void {
    this.#time.after(ms, () => {
      if (this.#isDead) return;
      if (this.#time.now < this.#frozenUntil) this.#deliverAfter(this.#frozenUntil - this.#time.now, deliver);
      else deliver();
    });
  }

  #send(
    { api, method, path, body, timeoutMs }: SentRequest,
    carryOut: () => HttpResponse,
    invocation: Invocation,
  ): Promise<ReceivedResponse> {
    const call: SentCall = {
      ...invocation,
      api,
      method,
      path: api === 'kubernetes' ? splitPath(path).pathname : path,
      body: body === '' ? undefined : (JSON.parse(body) as unknown),
      at: this.#time.now,
    };
    this.#onSend(call);
    return this.#travel(timeoutMs, call, carryOut);
  }

  /** A request travels, is carried out on arrival unless it is lost, and its answer travels back; or time runs out. */
  #travel(timeoutMs: number, call: SentCall, carryOut: () => HttpResponse): Promise<ReceivedResponse> {
    const fault = this.#weather.fault(call);
    return new Promise((resolve, reject) => {
      let isOver = false;
      this.#deliverAfter(timeoutMs, () => {
        isOver = true;
        reject(toTimeout(timeoutMs));
      });
      this.#time.after(this.#weather.latency(), () => {
        const answer =
          fault === 'lost_before' || fault === 'never' ? undefined : tryCarryOut(fault, carryOut);
        if (answer) call.status = answer.status;
        const told = answer && (this.#weather.distort?.(call, answer) ?? answer);
        if (fault === 'never') return;
        this.#deliverAfter(this.#weather.latency(), () => {
          if (isOver || fault === 'lost_after') call.isUnheard = true;
          if (told && fault !== 'lost_after') resolve(told);
          else reject(toNetworkError());
        });
      });
    });
  }
}

/** The request id of a deletion follows from the action and the machine. */
function isDeletionBy(actionId: string, { method, path }: SentRequest): boolean {
  const [, instance = ''] = /\/instances\/([^/?]+)/.exec(path) ?? [];
  return method === 'DELETE' && path.endsWith(toRequestId(actionId, instance));
}

/** The id of the action whose record is written. */
export function readRecordedId({ method, body }: SentRequest): string | undefined {
  if (method === 'GET' || body === '') return undefined;
  const { metadata } = JSON.parse(body) as {
    metadata?: { name?: string; annotations?: Record<string, string> };
  };
  return metadata?.name?.startsWith('action-') ? metadata.annotations?.['autometric-failover/id'] : undefined;
}

const refusals = { refused_429: 429, refused_409: 409, failed_500: 500, failed_503: 503 } as const;

function tryCarryOut(fault: Fault, carryOut: () => HttpResponse): ReceivedResponse | undefined {
  if (fault in refusals) {
    const status = refusals[fault as keyof typeof refusals];
    const headers: Record<string, string> = status === 429 ? { 'retry-after': '1' } : {};
    return { status, headers, body: '{"kind":"Status"}' };
  }
  try {
    const { status, headers, body } = carryOut();
    return { status, headers, body };
  } catch (error) {
    if (error instanceof ConnectionLost || error instanceof NeverAnswered) return undefined;
    throw error;
  }
}

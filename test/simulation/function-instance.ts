import { Deadline } from '../../src/clock.ts';
import type { Clock } from '../../src/clock.ts';
import { createDeleteInstance } from '../../src/gke/compute.ts';
import type { InstanceDeletion } from '../../src/gke/compute.ts';
import type { Config } from '../../src/config.ts';
import { UpstreamError } from '../../src/errors.ts';
import { failover } from '../../src/failover/failover.ts';
import type { Outcome } from '../../src/failover/failover.ts';
import type { Action } from '../../src/request/action.ts';
import { createKubernetes } from '../../src/gke/kubernetes.ts';
import { createLog } from '../../src/log.ts';
import { TimeoutError } from '../../src/gke/transport.ts';
import type {
  HttpRequest as SentRequest,
  HttpResponse as ReceivedResponse,
} from '../../src/gke/transport.ts';
import type { EmulatedCluster } from '../emulator/cluster.ts';
import type { Emulator } from '../emulator/emulator.ts';
import { ConnectionLost, NeverAnswered } from '../emulator/http.ts';
import type { HttpResponse } from '../emulator/http.ts';
import type { VirtualTime } from './virtual-time.ts';

/** What a request does on its way. */
export interface Weather {
  /** Milliseconds that a request takes to arrive, and its answer to come back. */
  latency: () => number;
  /** What befalls the next request. */
  fault: () => Fault;
}

export type Fault =
  'none' | 'lost_before' | 'lost_after' | 'refused_429' | 'failed_500' | 'failed_503' | 'never';

/** One request of one invocation, when it is sent. */
export interface SentCall {
  invocation: number;
  actionId: string;
  api: 'kubernetes' | 'compute';
  method: string;
  path: string;
  body: unknown;
  at: number;
  /** What was answered on arrival, also where the answer was then lost; undefined while under way. */
  status?: number;
}

/**
 * One instance of the function in virtual time: the real pipeline over the emulator, without sockets. While it is
 * frozen nothing reaches it, neither answers nor timers, as with an instance that is throttled; once it has crashed
 * nothing ever does.
 */
export class FunctionInstance {
  readonly #time: VirtualTime;
  readonly #emulator: Emulator;
  readonly #cluster: EmulatedCluster;
  readonly #weather: Weather;
  readonly #skewMs: number;
  readonly #onSend: (call: SentCall) => void;
  readonly #token: string;
  #frozenUntil = 0;
  #isDead = false;
  static #invocations = 0;

  constructor(options: {
    time: VirtualTime;
    emulator: Emulator;
    cluster: EmulatedCluster;
    token: string;
    weather: Weather;
    skewMs: number;
    onSend: (call: SentCall) => void;
  }) {
    this.#time = options.time;
    this.#emulator = options.emulator;
    this.#cluster = options.cluster;
    this.#token = options.token;
    this.#weather = options.weather;
    this.#skewMs = options.skewMs;
    this.#onSend = options.onSend;
  }

  freeze(ms: number): void {
    this.#frozenUntil = Math.max(this.#frozenUntil, this.#time.now + ms);
  }

  crash(): void {
    this.#isDead = true;
  }

  /** Sends an action through the pipeline; never settles if the instance dies meanwhile. */
  async invoke(action: Action, config: Config): Promise<Outcome> {
    const invocation = FunctionInstance.#invocations++;
    const clock = this.#createClock();
    const transport = (request: SentRequest) =>
      this.#sendKubernetes(request, { invocation, actionId: action.id });
    const sendDeletion = (deletion: InstanceDeletion, timeoutMs: number) =>
      this.#sendCompute(deletion, timeoutMs, { invocation, actionId: action.id });
    return failover(
      action,
      new Deadline(clock, config.actionDeadlineSeconds * 1000),
      {
        config,
        clock,
        prepareRepair: async () => undefined,
        deleteInstance: createDeleteInstance(clock, async () => sendDeletion),
        connect: async (name, deadline) => ({
          name,
          isAutopilot: false,
          kubernetes: createKubernetes({
            server: 'https://emulated',
            token: this.#token,
            transport,
            limits: { clock, deadline },
          }),
          close: () => undefined,
        }),
      },
      createLog(() => undefined),
    );
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

  #sendKubernetes(
    request: SentRequest,
    who: { invocation: number; actionId: string },
  ): Promise<ReceivedResponse> {
    const { pathname, search } = new URL(request.url);
    const body = request.body ?? '';
    const headers = Object.fromEntries(
      Object.entries(request.headers).map(([name, value]) => [name.toLowerCase(), value]),
    );
    const call: SentCall = {
      ...who,
      api: 'kubernetes',
      method: request.method,
      path: pathname,
      body: body === '' ? undefined : (JSON.parse(body) as unknown),
      at: this.#time.now,
    };
    this.#onSend(call);
    return this.#travel(request.timeoutMs, call, () =>
      this.#cluster.handle({ method: request.method, path: pathname + search, headers, body }),
    );
  }

  async #sendCompute(
    deletion: InstanceDeletion,
    timeoutMs: number,
    who: { invocation: number; actionId: string },
  ): Promise<string> {
    const { projectId, zone, instance, requestId } = deletion;
    const path = `/compute/v1/projects/${projectId}/zones/${zone}/instances/${instance}?requestId=${requestId}`;
    const call = `DELETE ${path}`;
    const sent: SentCall = {
      ...who,
      api: 'compute',
      method: 'DELETE',
      path,
      body: undefined,
      at: this.#time.now,
    };
    this.#onSend(sent);
    const headers = { authorization: `Bearer ${this.#token}` };
    const answer = await this.#travel(timeoutMs, sent, () =>
      this.#emulator.handleCompute({ method: 'DELETE', path, headers, body: '' }),
    ).catch((error: unknown) => {
      throw new UpstreamError({
        api: 'Compute API',
        call,
        isTimeout: error instanceof TimeoutError,
        cause: error,
      });
    });
    const parsed = JSON.parse(answer.body) as { name?: string; error?: { errors?: { reason: string }[] } };
    if (answer.status < 400) return parsed.name ?? '';
    const reason = parsed.error?.errors?.[0]?.reason;
    throw new UpstreamError({ api: 'Compute API', call, status: answer.status, reason });
  }

  /** A request travels, is carried out on arrival unless it is lost, and its answer travels back; or time runs out. */
  #travel(timeoutMs: number, call: SentCall, carryOut: () => HttpResponse): Promise<ReceivedResponse> {
    const fault = this.#weather.fault();
    return new Promise((resolve, reject) => {
      this.#deliverAfter(timeoutMs, () => reject(new TimeoutError(`no answer in ${timeoutMs} ms`)));
      this.#time.after(this.#weather.latency(), () => {
        const answer =
          fault === 'lost_before' || fault === 'never' ? undefined : tryCarryOut(fault, carryOut);
        if (answer) call.status = answer.status;
        if (fault === 'never') return;
        this.#deliverAfter(this.#weather.latency(), () => {
          if (answer && fault !== 'lost_after') resolve(answer);
          else reject(Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' }));
        });
      });
    });
  }
}

const refusals = { refused_429: 429, failed_500: 500, failed_503: 503 } as const;

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

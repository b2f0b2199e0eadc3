/** Which faults there are, drawn anew each minute: a run that has all of them all the time hides what a few of them do. */
import { setTimeout as delay } from 'node:timers/promises';
import { createRandom } from '../simulation/virtual-time.ts';

/** What befalls a request on its way. Those that end in `after` have it carried out. */
export const requestFaults = [
  /** The connection breaks, with all that is under way on it. */
  'cut_before',
  'cut_after',
  /** Only this request is reset. */
  'reset_before',
  'reset_after',
  /** GOAWAY: this request was not carried out; or it was, and the connection takes no further one. */
  'goaway_before',
  'goaway_after',
  'late_request',
  'late_answer_after',
  /** It is carried out twice, and answered once, as behind a proxy that retries. */
  'twice_after',
  'refused_429',
  'failed_503',
  'failed_500_after',
  'never_before',
  'never_after',
] as const;
export type RequestFault = (typeof requestFaults)[number];

/** What is killed, and how long after each other on average, in seconds. `connections` are those of the proxy. */
const kills = { function: 12, jobset: 20, connections: 15, 'kube-apiserver': 45, etcd: 55 } as const;
export type Kill = keyof typeof kills;

interface Minute {
  faults: RequestFault[];
  perMille: number;
  kills: Kill[];
}

export class Weather {
  /** How often each fault and each kill was made. */
  readonly counts = new Map<string, number>();
  readonly #random: () => number;
  /** How often it is asked depends on how fast everything is, so it must not decide what the next minute has. */
  readonly #minutes: () => number;
  readonly #say: (what: string) => void;
  #minute: Minute = { faults: [], perMille: 0, kills: [] };
  #drawnAt = 0;
  #isFair = true;

  constructor(seed: number, say: (what: string) => void) {
    this.#random = createRandom(seed);
    this.#minutes = createRandom(seed);
    this.#say = say;
  }

  /** Makes faults until it is told to stop. `kill` resolves once what was killed is there again. */
  async storm(kill: (what: Kill) => Promise<void>, stopped: AbortSignal): Promise<void> {
    const underWay = new Map<string, Promise<void>>();
    this.#isFair = false;
    while (!stopped.aborted) {
      if (Date.now() - this.#drawnAt >= 60_000) this.#draw();
      await delay(1000, undefined, { signal: stopped }).catch(() => undefined);
      for (const what of this.#minute.kills) {
        const whole = what === 'etcd' ? 'kube-apiserver' : what;
        if (stopped.aborted || underWay.has(whole) || this.#random() * kills[what] >= 1) continue;
        this.#count(`kill ${what}`);
        this.#say(`kills ${what}`);
        underWay.set(
          whole,
          kill(what).finally(() => underWay.delete(whole)),
        );
      }
    }
    this.#isFair = true;
    await Promise.all(underWay.values());
  }

  /** What befalls the next request. */
  faultOf(known: readonly RequestFault[] = requestFaults): RequestFault | undefined {
    const { faults, perMille } = this.#minute;
    if (this.#isFair || this.#random() * 1000 >= perMille) return undefined;
    const fault = faults[Math.floor(this.#random() * faults.length)];
    if (fault === undefined || !known.includes(fault)) return undefined;
    this.#count(fault);
    return fault;
  }

  /** How late something is: mostly less than the function waits, and at times more. */
  lateMs(): number {
    return this.#random() < 0.2 ? 9_000 + this.#random() * 6_000 : 200 + this.#random() * 4_000;
  }

  #draw(): void {
    const half = <T>(all: readonly T[]) => all.filter(() => this.#minutes() < 0.5);
    this.#drawnAt = Date.now();
    this.#minute = {
      faults: half(requestFaults),
      perMille: [5, 20, 50, 100][Math.floor(this.#minutes() * 4)] ?? 20,
      kills: half(Object.keys(kills) as Kill[]),
    };
    const { faults, perMille, kills: killed } = this.#minute;
    this.#say(`this minute: ${perMille} of 1000 requests ${faults.join(' ')}; kills ${killed.join(' ')}`);
  }

  #count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }
}

import { createHash } from 'node:crypto';
import type { HttpResponse } from '../../src/gke/transport.ts';
import type { EmulatedCluster } from '../emulator/cluster.ts';
import type { Emulator } from '../emulator/emulator.ts';
import type { SentCall } from './function-instance.ts';
import { isMachineDeletion } from './sent-calls.ts';
import type { Actor } from './turn-actor.ts';

/** What an actor has heard decides what it does next. */
interface Memory {
  heard: string;
  /** The resourceVersions that it has seen, in the order in which it saw them first. */
  versions: Map<string, number>;
}

/** Ages that differ by less decide nothing: the function waits for 10 s, and a lock lasts for 70 s. */
const timeStepMs = 20_000;

/** Texts come again in each run. */
const normalised = new Map<string, { text: string; versions: string[] }>();
const mostNormalised = 20_000;

/**
 * The state of a run in a short text: the objects and machines, what each actor has heard, and which of the object versions
 * that it has seen are the present ones. Two runs with the same key go on alike. Numbers of versions, and times that differ by
 * the few milliseconds that a turn takes, are left out.
 */
export class StateKeys {
  readonly #start: number;
  readonly #memories = new Map<Actor, Memory>();
  readonly #objects = new WeakMap<object, { text: string; versions: string[] }>();

  constructor(start: number) {
    this.#start = start;
  }

  onAnswer(actor: Actor, label: string, answer: HttpResponse | 'lost' | 'late'): void {
    const memory = this.#remember(actor);
    if (typeof answer === 'string') {
      memory.heard = hash(memory.heard, label, answer);
      return;
    }
    const { text, versions } = this.#normalise(answer.body);
    const ranks = versions.map((version) => {
      const rank = memory.versions.get(version) ?? memory.versions.size + 1;
      memory.versions.set(version, rank);
      return rank;
    });
    memory.heard = hash(memory.heard, label, String(answer.status), text, ranks.join());
  }

  /** A turn that is no call. */
  onTurn(actor: Actor, label: string): void {
    const memory = this.#remember(actor);
    memory.heard = hash(memory.heard, label);
  }

  toKey(
    {
      emulator,
      cluster,
      now,
      calls,
    }: { emulator: Emulator; cluster: EmulatedCluster; now: number; calls: SentCall[] },
    actors: Actor[],
  ): string {
    const memories = actors.map((actor) => (actor.next ? this.#remember(actor) : undefined));
    const parts = [String(this.#toStep(now)), ...memories.map((memory) => memory?.heard ?? '')];
    for (const object of cluster.stored()) {
      const { text, versions } = this.#normaliseObject(object);
      const ranks = versions.map((version) => memories.map((memory) => memory?.versions.get(version) ?? 0));
      parts.push(text, ranks.join());
    }
    for (const { id, status } of emulator.fleet.list()) parts.push(`${id} ${status}`);
    // What the promises are held against.
    for (const call of calls) {
      const isDeletion = isMachineDeletion(call) || /\/(pods|jobs)\//.test(call.path);
      if (isDeletion && call.method !== 'GET') parts.push(`${call.actionId} ${call.path} ${call.status}`);
    }
    return hash(...parts);
  }

  #remember(actor: Actor): Memory {
    const memory = this.#memories.get(actor) ?? { heard: '', versions: new Map<string, number>() };
    this.#memories.set(actor, memory);
    return memory;
  }

  /** A write replaces an object by another one. */
  #normaliseObject(object: object): { text: string; versions: string[] } {
    const known = this.#objects.get(object) ?? this.#normalise(JSON.stringify(object));
    this.#objects.set(object, known);
    return known;
  }

  #normalise(body: string): { text: string; versions: string[] } {
    const known = normalised.get(body);
    if (known) return known;
    const versions: string[] = [];
    const text = body
      .replaceAll(/"metadata":\{"resourceVersion":"\d+"\}/g, '')
      .replaceAll(/"resourceVersion":"(\d+)"/g, (_, version: string) => {
        versions.push(version);
        return '';
      })
      .replaceAll(
        /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g,
        (time) => `at ${this.#toStep(Date.parse(time))}`,
      )
      .replaceAll(/operation-[\d.]+-\w+/g, 'operation')
      .replaceAll(/\b\d+ s\b/g, 's');
    if (normalised.size > mostNormalised) normalised.clear();
    const result = { text: hash(text), versions };
    normalised.set(body, result);
    return result;
  }

  /** Times of one wait, or of one freeze, are in the middle of a step. */
  #toStep(ms: number): number {
    return Math.floor((ms - this.#start + timeStepMs / 4) / timeStepMs);
  }
}

function hash(...parts: string[]): string {
  return createHash('md5').update(parts.join('\n')).digest('base64');
}

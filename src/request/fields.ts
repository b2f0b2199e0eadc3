import * as v from 'valibot';
import { invalidAction } from '../errors.ts';

type Fields = Record<string, v.GenericSchema>;

type Parsed<T extends Fields> = { [Key in keyof T]: NonNullable<v.InferOutput<T[Key]>> | undefined };

/**
 * Parses the fields of an object strictly: an unknown field is an error.
 *
 * @param schemas one field builder's result (below) for each known field
 * @param within the field that holds the object, for messages; `''` means the body itself
 * @returns each known field; absent ones are undefined
 * @throws {FailoverError} `invalid_action`, which names the first field that is unknown or wrong
 */
export function parseFields<const T extends Fields>(schemas: T, value: unknown, within: string): Parsed<T> {
  const where = within ? `${within}.` : '';
  if (!isObject(value)) {
    throw invalidAction(within ? `${within} must be an object` : 'the body must be a JSON object');
  }
  for (const name of Object.keys(value)) {
    if (!Object.hasOwn(schemas, name)) {
      throw invalidAction(describeUnknownField(name, where, Object.keys(schemas)));
    }
  }
  const parsed: Record<string, unknown> = {};
  for (const [name, schema] of Object.entries(schemas)) {
    const result = v.safeParse(schema, value[name], { abortEarly: true, abortPipeEarly: true });
    if (!result.success) throw invalidAction(`${where}${name} ${result.issues[0].message}`);
    parsed[name] = result.output ?? undefined;
  }
  return parsed as Parsed<T>;
}

/** True for an object that is neither null nor an array. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function describeUnknownField(name: string, where: string, known: string[]): string {
  const shown = JSON.stringify(`${where}${name.slice(0, 64)}`);
  const nearest = nearestName(name.slice(0, 64), known);
  return nearest
    ? `unknown field ${shown}, did you mean ${JSON.stringify(where + nearest)}?`
    : `unknown field ${shown}; known fields: ${known.map((field) => where + field).join(', ')}`;
}

/** Finds the known name that a misspelt one probably means; undefined if none is close. */
export function nearestName(given: string, known: string[]): string | undefined {
  const plain = (name: string) => name.toLowerCase().replaceAll(/[^a-z0-9]/g, '');
  const wanted = plain(given);
  const isPart = (name: string) => wanted.length >= 4 && plain(name).includes(wanted);
  const isNear = (name: string, distance: number) => distance <= Math.max(2, Math.floor(name.length / 3));
  const [best] = known
    .map((name) => ({ name, distance: editDistance(wanted, plain(name)) }))
    .filter(({ name, distance }) => isPart(name) || isNear(name, distance))
    .sort((a, b) => a.distance - b.distance);
  return best?.name;
}

/** Computes the Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, substitution));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** A field that is `true`, `false`, `null` or absent. `""` is an error. */
export function booleanField() {
  return v.nullish(v.boolean('must be true or false, without quotes'));
}

/** A field that is an object, `null` or absent. */
export function objectField() {
  return v.nullish(v.custom<Record<string, unknown>>(isObject, 'must be an object'));
}

/**
 * A field that is a string of at most `max` characters; `null` and `""` mean absent.
 *
 * @param pattern a pattern that the text must match; by default any text will do
 * @param rule the message for a text that is too long or does not match, such as `must be the name of a JobSet`
 */
export function textField({ max, pattern, rule }: { max: number; pattern?: RegExp; rule: string }) {
  const text = v.pipe(
    v.string(),
    v.maxLength(max, rule),
    v.check((value) => pattern === undefined || pattern.test(value), rule),
  );
  return v.pipe(
    v.nullish(v.string('must be a string')),
    v.transform((value) => (value === '' ? undefined : value)),
    v.nullish(text),
  );
}

/** A text that a person reads, in a log or an Event: at most `max` characters, without control characters. */
export function proseField(max: number) {
  return v.pipe(
    textField({ max, rule: `must have at most ${max} characters` }),
    v.check((value) => !value || !controlCharacter.test(value), 'must not have control characters'),
  );
}

/** The control characters of ASCII and Latin-1, and Unicode's line and paragraph separators. */
// oxlint-disable-next-line no-control-regex -- control characters must not get into logs and Events
export const controlCharacter = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;

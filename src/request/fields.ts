import * as v from 'valibot';
import { invalidAction } from '../errors.ts';

type Fields = Record<string, v.GenericSchema>;

type Parsed<T extends Fields> = { [Key in keyof T]: NonNullable<v.InferOutput<T[Key]>> | undefined };

export function parseFields<const T extends Fields>(schemas: T, value: unknown, within: string): Parsed<T> {
  const where = within ? `${within}.` : '';
  if (!isPlainObject(value))
    throw invalidAction(within ? `${within} must be an object` : 'the body must be a JSON object');
  for (const name of Object.keys(value)) {
    if (!Object.hasOwn(schemas, name))
      throw invalidAction(describeUnknownField(name, where, Object.keys(schemas)));
  }
  const parsed: Record<string, unknown> = {};
  for (const [name, schema] of Object.entries(schemas)) {
    const result = v.safeParse(schema, value[name], { abortEarly: true, abortPipeEarly: true });
    if (!result.success) throw invalidAction(`${where}${name} ${result.issues[0].message}`);
    parsed[name] = result.output ?? undefined;
  }
  return parsed as Parsed<T>;
}

export function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Says what a misspelt field may have meant; also used for the labels of an alert policy. */
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

function describeUnknownField(name: string, where: string, known: string[]): string {
  const shown = JSON.stringify(`${where}${name.slice(0, 64)}`);
  const nearest = nearestName(name.slice(0, 64), known);
  return nearest
    ? `unknown field ${shown}, did you mean ${JSON.stringify(where + nearest)}?`
    : `unknown field ${shown}, known are ${known.map((field) => where + field).join(', ')}`;
}

/** Levenshtein's distance. */
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

/** A boolean or absent. */
export function booleanField() {
  return v.nullish(v.boolean('must be true or false, without quotes'));
}

export function textField(
  min: number,
  max: number,
  pattern: RegExp = /^/,
  sentence = `must have ${min} to ${max} characters`,
) {
  return v.pipe(
    v.nullish(v.string('must be a string')),
    v.transform((value) => (value === '' ? undefined : value)),
    v.nullish(
      v.pipe(v.string(), v.minLength(min, sentence), v.maxLength(max, sentence), v.regex(pattern, sentence)),
    ),
  );
}

export function proseField(max: number) {
  return v.pipe(
    textField(1, max, /^/, `must have at most ${max} characters`),
    v.check((value) => !value || !controlCharacters.test(value), 'must not have control characters'),
  );
}

// oxlint-disable-next-line no-control-regex -- control characters are what it keeps out of logs and Events
const controlCharacters = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;

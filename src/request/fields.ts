import * as v from 'valibot';
import { invalidAction } from '../errors.ts';
import { nearestName } from '../nearest-name.ts';
import { toPrintableText } from './printable-text.ts';

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

/** A field that is `true`, `false`, `null` or absent. `""` is an error. */
export function booleanField() {
  return v.nullish(v.boolean('must be true or false, without quotes'));
}

/** A field that is a whole number from 0 to `max`, `null` or absent. `""` is an error. */
export function wholeNumberField({ max, unit }: { max: number; unit: string }) {
  const rule = `must be a whole number of ${unit} from 0 to ${max}, without quotes`;
  return v.nullish(v.pipe(v.number(rule), v.integer(rule), v.minValue(0, rule), v.maxValue(max, rule)));
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
    v.check(
      (value) => pattern === undefined || pattern.test(value),
      ({ input }) => (pattern?.test(input.toLowerCase()) ? `${rule}, in lower case` : rule),
    ),
  );
  return v.pipe(
    v.nullish(v.string('must be a string')),
    v.transform((value) => (value === '' ? undefined : value)),
    v.nullish(text),
  );
}

/**
 * A text that a person reads, in a log or an Event: flattened to one line and cut to `max` characters. It may be a raw log
 * message. Nothing is decided by it, so it is no reason to refuse an action.
 */
export function proseField(max: number) {
  return v.pipe(
    v.nullish(v.string('must be a string')),
    v.transform((value) => toPrintableText(value ?? '', max) || undefined),
  );
}

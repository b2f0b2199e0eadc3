import * as v from 'valibot';
import { prefix } from '../names.ts';
import { isObject } from '../request/fields.ts';

/** Which version of this format a Lease was written in. Version 0.1.0 wrote none. */
export const versionKey = `${prefix}version`;

/** The version that this code writes. It reads this one and those before it. */
export const version = '2';

/** Takes the version out of a Lease's annotations, but keeps a newer one: this code must not parse or overwrite it. */
export function withoutKnownVersion(annotations: Record<string, string>): Record<string, string> {
  const { [versionKey]: written, ...others } = annotations;
  return isKnown(written) ? others : annotations;
}

function isKnown(written: string | undefined): boolean {
  return written === undefined || Number(written) <= Number(version);
}

/**
 * Parses an annotation that holds JSON.
 *
 * @returns undefined where there is no such annotation; `broken` where it is no JSON, has another shape, or was written by
 *   a newer version, whose meaning this code cannot know
 */
export function parseStored<const Schema extends v.GenericSchema>(
  schema: Schema,
  annotations: Readonly<Record<string, string>>,
  key: string,
): { value: v.InferOutput<Schema> } | 'broken' | undefined {
  const text = annotations[key];
  if (text === undefined) return undefined;
  if (!isKnown(annotations[versionKey])) return 'broken';
  try {
    const result = v.safeParse(schema, JSON.parse(text));
    return result.success ? { value: result.output } : 'broken';
  } catch {
    return 'broken';
  }
}

/**
 * An object with an item for each id or name. Valibot's own record drops the keys `constructor` and `prototype`, and an
 * incident may be called that.
 */
export function mapOf<const Item extends v.GenericSchema>(item: Item) {
  return v.custom<Record<string, v.InferOutput<Item>>>(
    (value) => isObject(value) && Object.values(value).every((each) => v.is(item, each)),
  );
}

/** A time in RFC 3339. */
export const timeSchema = v.pipe(
  v.string(),
  v.check((text) => Number.isFinite(Date.parse(text))),
);

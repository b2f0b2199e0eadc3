// What the value of a setting may be.
import * as v from 'valibot';
import { actionTypes } from './action-type.ts';

export function listOf<const Item extends v.GenericSchema<string, unknown>>(item: Item) {
  return v.pipe(
    v.string(),
    v.transform((text) =>
      text
        .split(',')
        .map((part) => part.trim())
        .filter((part) => part !== ''),
    ),
    v.array(item),
  );
}

export const actionTypeSchema = v.picklist(
  actionTypes,
  (issue) => `has ${issue.received}, which is not one of ${actionTypes.join(', ')}`,
);

export function wholeNumber(min: number, max: number, unit: string, fallback: string) {
  const sentence = `must be a whole number of ${unit} from ${min} to ${max}`;
  return v.optional(
    v.pipe(
      v.string(),
      v.regex(/^\d{1,9}$/, sentence),
      v.transform(Number),
      v.minValue(min, sentence),
      v.maxValue(max, sentence),
    ),
    fallback,
  );
}

/** A whole number, or a percentage such as `10%`. */
export function numberOrPercentage(min: number, max: number, unit: string, fallback: string) {
  const sentence = `must be a whole number of ${unit} from ${min} to ${max}, or a percentage from 1% to 100%`;
  return v.optional(
    v.pipe(
      v.string(),
      v.regex(/^\d{1,9}%?$/, sentence),
      v.check((text) => {
        const number = Number.parseInt(text, 10);
        return text.endsWith('%') ? number >= 1 && number <= 100 : number >= min && number <= max;
      }, sentence),
      v.transform((text) => (text.endsWith('%') ? { percent: Number.parseInt(text, 10) } : Number(text))),
    ),
    fallback,
  );
}

/** The function sends its token to this endpoint, so plain HTTP is only for an emulator on this machine. */
export const endpointSchema = v.pipe(
  v.string(),
  v.check((text) => URL.canParse(text), 'must be a URL'),
  v.transform((text) => new URL(text)),
  v.check(
    ({ protocol, hostname }) =>
      protocol === 'https:' ||
      (protocol === 'http:' && ['127.0.0.1', 'localhost', '[::1]'].includes(hostname)),
    'must be https, or http to an address of this machine',
  ),
);

// The one way to make HTML here. Whatever is put into a template is escaped, in text and in quoted attributes alike;
// docs/decisions/0007 says why this library.
import { html as escapeInto, raw } from 'hono/html';

declare const isHtml: unique symbol;

/** HTML that a template made. Nothing else can have this type, so text from outside cannot pass for HTML. */
export interface Html {
  readonly [isHtml]: true;
}

/** What a template takes. Objects are not among them: what came as JSON must be made a text first. */
export type Content = string | number | false | undefined | Html | readonly Content[];

/** A template of HTML. An attribute's value must be in quotes: test/page/templates.test.ts holds that. */
export function html(strings: TemplateStringsArray, ...values: Content[]): Html {
  return escapeInto(strings, ...values) as unknown as Html;
}

/** The source of a page. */
export function toSource(page: Html): string {
  return (page as unknown as { toString(): string }).toString();
}

/** This source's own style or script. The only way past the escaping, for nothing else (test/page/templates.test.ts). */
export function trusted(text: string): Html {
  return raw(text) as unknown as Html;
}

/** Says something of a field that may hold anything, as a text. */
export function toText(value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return value === undefined || value === null ? '' : JSON.stringify(value);
}

/** Puts something between all items. */
export function join(items: Content[], between: Content): Content {
  return items.flatMap((item, index) => (index === 0 ? [item] : [between, item]));
}

import { isJsonObject } from './objects.ts';
import type { JsonObject } from './objects.ts';

/**
 * Keeps only what a partial response asks for: `name,masterAuth/clusterCaCertificate,items(id,name)` in a `fields`
 * parameter, or dots instead of slashes in an X-Goog-FieldMask header.
 */
export function selectFields(value: unknown, mask: string): unknown {
  return select(value, parseMask(mask.replaceAll('.', '/')));
}

interface Mask {
  [field: string]: Mask;
}

function parseMask(text: string): Mask {
  let at = 0;
  const readList = (): Mask => {
    const mask: Mask = {};
    while (at < text.length && text[at] !== ')') {
      if (text[at] === ',' || text[at] === ' ') {
        at += 1;
        continue;
      }
      readPath(mask);
    }
    return mask;
  };
  const readPath = (parent: Mask): void => {
    const start = at;
    while (at < text.length && !',()/'.includes(text[at] ?? '')) at += 1;
    const child = (parent[text.slice(start, at).trim()] ??= {});
    if (text[at] === '/') {
      at += 1;
      readPath(child);
    } else if (text[at] === '(') {
      at += 1;
      Object.assign(child, readList());
      at += 1;
    }
  };
  return readList();
}

function select(value: unknown, mask: Mask): unknown {
  if (Object.keys(mask).length === 0) return value;
  if (Array.isArray(value)) return value.map((item) => select(item, mask));
  if (!isJsonObject(value)) return value;
  const everything = mask['*'];
  const result: JsonObject = {};
  for (const [key, field] of Object.entries(value)) {
    const child = mask[key] ?? everything;
    if (child) result[key] = select(field, child);
  }
  return result;
}

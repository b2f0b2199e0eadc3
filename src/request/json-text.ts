import { FailoverError, invalidAction } from '../errors.ts';

/**
 * Parses JSON. A field that an object has twice is refused.
 *
 * @throws {FailoverError} `invalid_action`
 */
export function parseJsonText(text: string): unknown {
  if (text.trim() === '') throw invalidAction('the body is empty; it must be a JSON object');
  const value = parseJson(text);
  assertNoFieldTwice(text);
  return value;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new FailoverError('invalid_action', 'the body is not JSON', { cause: error });
  }
}

/** A string, with the colon if it is a field's name, or a brace. */
const jsonToken = /"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?|[{}]/g;

/**
 * Refuses a field that an object has twice. JSON.parse takes the last one, and the `"dry_run": true` that a person reads
 * might be the first.
 *
 * @param json valid JSON
 * @throws {FailoverError} `invalid_action`
 */
function assertNoFieldTwice(json: string): void {
  const objects: Set<string>[] = [];
  for (const [token, colon] of json.matchAll(jsonToken)) {
    if (token === '{') objects.push(new Set());
    else if (token === '}') objects.pop();
    else if (colon !== undefined) {
      const field = JSON.parse(token.slice(0, -colon.length)) as string;
      const fields = objects.at(-1);
      if (fields?.has(field)) throw fieldRepeated(field);
      fields?.add(field);
    }
  }
}

function fieldRepeated(field: string): FailoverError {
  return invalidAction(`field ${JSON.stringify(field.slice(0, 64))} is given twice`);
}

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
    throw new FailoverError('invalid_action', `the body is not JSON: ${locateFault(text)}`, { cause: error });
  }
}

/**
 * Says where a text stops being JSON. The parser's own message often names no position, and quotes the text instead.
 *
 * @param text what JSON.parse refuses
 */
function locateFault(text: string): string {
  // The longest beginning of the text that only lacks its end.
  let good = 0;
  let bad = text.length;
  while (good < bad) {
    const middle = Math.ceil((good + bad) / 2);
    if (isBeginning(text.slice(0, middle))) good = middle;
    else bad = middle - 1;
  }
  if (good === text.length) return 'it ends too early';
  const lines = text.slice(0, good).split('\n');
  return `at position ${good} (line ${lines.length}, column ${(lines.at(-1)?.length ?? 0) + 1})`;
}

/** True if a text is JSON, or would be with more text behind it. */
function isBeginning(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch (error) {
    const { message } = error as Error;
    return (
      / at position (\d+)/.exec(message)?.[1] === String(text.length) || message.startsWith('Unexpected end')
    );
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

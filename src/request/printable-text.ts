/** The control characters of ASCII and Latin-1, and Unicode's line and paragraph separators. */
// oxlint-disable-next-line no-control-regex -- control characters must not get into logs and Events
const controlCharacters = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g;

/** Makes a text of a caller or an alert fit into one line of a log or an Event: no control characters, at most `max` characters. */
export function toPrintableText(text: string, max: number): string {
  const plain = text.replaceAll(controlCharacters, ' ').trim();
  return plain.length > max ? `${plain.slice(0, max - 1)}…`.toWellFormed() : plain.toWellFormed();
}

/** Quotes a text of an alert for a message, so that it reads as data: at most 128 characters. */
export function quote(text: string): string {
  return JSON.stringify(toPrintableText(text, 128));
}

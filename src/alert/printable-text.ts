/** Fits a text of an alert into one line of a log or an Event, of at most so many characters. */
export function toPrintableText(text: string, max: number): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what it takes out
  const plain = text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ').trim();
  return plain.length > max ? `${plain.slice(0, max - 1)}…`.toWellFormed() : plain.toWellFormed();
}

/** Shows a text of an alert as what it is: data. */
export function quote(text: string): string {
  return JSON.stringify(toPrintableText(text, 128));
}

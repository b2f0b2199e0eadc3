import { controlCharacter } from '../request/fields.ts';

const controlCharacters = new RegExp(`${controlCharacter.source}+`, 'g');

/** Makes a text of an alert fit into one line of a log or an Event: no control characters, at most `max` characters. */
export function toPrintableText(text: string, max: number): string {
  const plain = text.replaceAll(controlCharacters, ' ').trim();
  return plain.length > max ? `${plain.slice(0, max - 1)}…`.toWellFormed() : plain.toWellFormed();
}

/** Quotes a text of an alert for a message, so that it reads as data: at most 128 characters. */
export function quote(text: string): string {
  return JSON.stringify(toPrintableText(text, 128));
}

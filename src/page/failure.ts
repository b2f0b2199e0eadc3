import type { FailoverError } from '../errors.ts';
import { html } from './html.ts';
import { toPage } from './layout.ts';
import type { Page } from './layout.ts';
import { toWords } from './words.ts';

/** Shows why there is nothing to show. */
export function renderFailure({ status, code, message }: FailoverError, now: number): Page {
  const main = html`<h1>${toWords(code)} (${status})</h1>
    <p class="card">${message}</p>`;
  return toPage({ title: toWords(code), place: 'elsewhere', now }, main);
}

import { createHash } from 'node:crypto';
import { html, toSource, trusted } from './html.ts';
import type { Content } from './html.ts';
import { script } from './script.ts';
import { style } from './style.ts';

/** A page, ready to be sent. */
export interface Page {
  html: string;
  headers: Record<string, string>;
}

/**
 * The page may load, run and send to nothing but itself: its one style and its one script are in it, and named by their
 * hashes, so that even a text that slipped through unescaped could do nothing.
 */
const policy = [
  "default-src 'none'",
  `style-src '${hashOf(style)}'`,
  `script-src '${hashOf(script)}'`,
  "connect-src 'self'",
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const headers = {
  'Content-Type': 'text/html; charset=utf-8',
  'Content-Security-Policy': policy,
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-store',
  Vary: 'Accept',
};

/** Which entry of the navigation a page is. */
export type Place = 'overview' | 'actions' | 'elsewhere';

/** What a page's frame says. */
export interface PageFacts {
  title: string;
  place: Place;
  /** In ms since the epoch. */
  now: number;
  /** Something needs a person, so the tab has a red mark. */
  isBad?: boolean;
}

/** Makes a page of its content. */
export function toPage({ title, place, now, isBad = false }: PageFacts, main: Content): Page {
  const here = (name: Place) => name === place && html` aria-current="page"`;
  const time = new Date(now).toISOString();
  const body = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>${title}</title>
        <link rel="icon" href="${icon(isBad)}" />
        ${trusted(`<style>${style}</style>`)}
      </head>
      <body>
        <header>
          <strong>autometric-failover</strong>
          <nav aria-label="Pages">
            <a href="/" ${here('overview')}>Overview</a><a href="/actions" ${here('actions')}>Actions</a>
          </nav>
          <p class="fresh">
            <span class="stale" role="status" data-stale></span>
            <span data-at>as of <time datetime="${time}">${time.slice(11, 19)}</time> UTC</span>
            <button type="button" class="js-only" data-hold>Stop reloading</button>
          </p>
        </header>
        <main>${main}</main>
        <footer>
          This page only shows. It changes nothing, and its reads leave no line in the log. Times are in UTC.
        </footer>
        ${trusted(`<script>${script}</script>`)}
      </body>
    </html> `;
  return { html: toSource(body), headers };
}

/** The mark of the tab: a green dot or a red square. */
function icon(isBad: boolean): string {
  const shape = isBad
    ? '<path fill="#cf222e" d="M1 1h14v14H1z"/>'
    : '<circle cx="8" cy="8" r="7" fill="#2c974b"/>';
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">${shape}</svg>`;
  return `data:image/svg+xml,${encodeURIComponent(svg)}`;
}

function hashOf(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`;
}

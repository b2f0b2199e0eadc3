import type { Request } from '@google-cloud/functions-framework';
import { FailoverError, invalidAction } from '../errors.ts';
import { toPrintableText } from './printable-text.ts';

export const alertsPath = '/alerts';

/** Cloud Scheduler calls it once a minute. */
export const reconcilePath = '/reconcile';

const actionPaths = ['/', '/actions'];

/** Returns the path of a request, without the slash that a person may have put at its end. */
export function pathOf({ path }: Request): string {
  return path.replace(/^(\/[a-z]+)\/$/, '$1');
}

/** Which of the functions of one deployment this is. */
export type FunctionName = 'failover' | 'failoverWebhook' | 'failoverStatus';

/** True for a request that only asks: it may not change anything. */
export function isRead({ method }: Request): boolean {
  return method === 'GET' || method === 'HEAD';
}

/** True if a browser asks, which would rather have a page. `/status` is JSON for everybody. */
export function wantsPage(request: Request): boolean {
  return pathOf(request) !== '/status' && request.accepts(['json', 'html']) === 'html';
}

/** Where the browser reaches this function on its own machine; where the proxy listens unless told otherwise, if that is not known. */
export function toLoopbackHost(request: Request): string {
  const host = request.get('host') ?? '';
  return /^(?:localhost|127\.0\.0\.1)(?::\d{1,5})?$/.test(host) ? host : 'localhost:8080';
}

/**
 * Checks path and method.
 *
 * @param name the public webhook takes alerts only; the status function only shows
 * @throws {FailoverError} `target_not_found` for another path, `method_not_allowed` for another method
 */
export function assertRoute(request: Request, name: FunctionName): void {
  const path = pathOf(request);
  const posts = postPaths[name];
  const isShown = name !== 'failoverWebhook' && (getPaths.includes(path) || actionPattern.test(path));
  const isPosted = posts.includes(path);
  if (!isShown && !isPosted) {
    const gets = name === 'failoverWebhook' ? '' : `; GET ${getPaths.join(' or ')} or /actions/ID`;
    throw new FailoverError(
      'target_not_found',
      `there is nothing at ${path.slice(0, 64)}; POST to ${posts.join(' or ')}${gets}`,
    );
  }
  if ((isRead(request) && isShown) || (request.method === 'POST' && isPosted)) return;
  const allowed = [...(isShown ? ['GET', 'HEAD'] : []), ...(isPosted ? ['POST'] : [])];
  const alert = 'a notification of Cloud Monitoring to /alerts';
  const what = { failover: `an action as JSON to /actions, or ${alert}`, failoverWebhook: alert };
  const hint = isPosted && name !== 'failoverStatus' ? `; send a POST: ${what[name]}` : '; send a GET';
  throw new FailoverError('method_not_allowed', `${request.method} is not allowed${hint}`, {
    headers: { Allow: allowed.join(', ') },
  });
}

const postPaths: Record<FunctionName, string[]> = {
  failover: [...actionPaths, alertsPath, reconcilePath],
  failoverWebhook: [alertsPath],
  failoverStatus: ['/'],
};
const getPaths = ['/', '/actions', '/status'];
const actionPattern = /^\/actions\/[^/]+$/;

/**
 * Refuses what a web page sends. Whoever looks at the page through a proxy on their own machine also visits other sites,
 * and each of these can send to that proxy. A browser says so in `Origin`; nothing that may act is a browser.
 *
 * @throws {FailoverError} `forbidden`
 */
export function assertNotFromPage(request: Request): void {
  const origin = request.get('origin');
  if (origin === undefined) return;
  throw new FailoverError(
    'forbidden',
    `a web page (${toPrintableText(origin, 64)}) may not send this; nothing was done`,
  );
}

/** Eventarc adds it to the address of its push subscription, to tell a framework how to unpack the event. */
const eventarcParameter = '__GCP_CloudEventsMode';

/**
 * Refuses a query string: nothing reads it, and somebody may believe that its `dry_run` counts.
 *
 * @throws {FailoverError} `invalid_action`
 */
export function assertNoQuery({ url }: Request): void {
  const names = [...new URLSearchParams(url.split('?').slice(1).join('?')).keys()];
  const [name] = names.filter((each) => each !== eventarcParameter);
  if (name === undefined) return;
  throw invalidAction(
    `the query string has ${JSON.stringify(toPrintableText(name, 64))}, but only the JSON body counts: put it there. Nothing was done`,
  );
}

/** The answer to an alert that was sent to a path of actions. It is not acknowledged, so that nothing is lost. */
export function alertMisdirected(): FailoverError {
  return invalidAction(
    'this is a notification of Cloud Monitoring, or a Pub/Sub push; its path is /alerts: ' +
      "add /alerts to the subscription's push endpoint, or to the channel's URL",
  );
}

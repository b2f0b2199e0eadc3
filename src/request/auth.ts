import { createHash, timingSafeEqual } from 'node:crypto';
import { isFromAlert } from './action.ts';
import type { Action } from './action.ts';
import type { ActionType } from '../action-type.ts';
import type { Config, WebhookCredentials } from '../config.ts';
import { FailoverError } from '../errors.ts';

/**
 * Checks that the configuration allows an action and the namespace that it uses.
 *
 * @throws {FailoverError} `forbidden`, which names the setting
 */
export function authoriseAction(action: Action, config: Config): void {
  const { type, namespace, jobSetName, incident } = action;
  const isAlert = isFromAlert(action);
  const allowed = isAlert ? config.alertActions : config.allowedActions;
  for (const each of [type, ...followUpsOf(action)]) {
    if (allowed.includes(each)) continue;
    const setting = isAlert ? 'ALERT_ACTIONS' : 'ALLOWED_ACTIONS';
    throw new FailoverError('forbidden', `${each} is not allowed here (${setting} is ${allowed.join(', ')})`);
  }
  // An alert uses its namespace even without a JobSet's name: its pod is there, or the search for the pool's JobSet is.
  const usesNamespace = jobSetName !== undefined || incident?.namespace !== undefined;
  if (usesNamespace && !config.allowedNamespaces.includes(namespace)) {
    const namespaces = config.allowedNamespaces.join(', ');
    throw new FailoverError(
      'forbidden',
      `namespace ${namespace} is not allowed here (ALLOWED_NAMESPACES is ${namespaces})`,
    );
  }
}

/** What an action may come to, and what its verdict may ask for: it is refused now, rather than when the run needs it. */
function followUpsOf({ onFailure, uncordonWhenRepaired, whenNoSpare }: Action): ActionType[] {
  return [
    ...(whenNoSpare === 'repair' ? (['cordon_and_repair_nodepool', 'uncordon_nodepool'] as const) : []),
    ...(onFailure === undefined ? [] : [onFailure]),
    ...(uncordonWhenRepaired === true ? (['uncordon_nodepool'] as const) : []),
  ];
}

/**
 * Reads the caller's e-mail address from the claims of the bearer token, for the log, and to tell who approves from who asked.
 * Cloud Run has checked the token and removed its signature, so this function cannot tell a true claim from a forged one.
 */
export function readCaller(authorization: string | undefined): string | undefined {
  const payload = /^Bearer [\w-]+\.([\w-]+)\./i.exec(authorization ?? '')?.[1];
  if (payload === undefined) return undefined;
  try {
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { email?: unknown } | null;
    const email = claims?.email;
    return typeof email === 'string' && /^[\w.+%@-]{3,256}$/.test(email) ? email : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Checks Basic credentials. It compares hashes, so that the time of the comparison tells neither content nor length.
 *
 * @throws {FailoverError} `unauthorized`, with the challenge (`WWW-Authenticate`) after which Cloud Monitoring sends its
 *   credentials
 */
export function requireBasicCredentials(
  authorization: string | undefined,
  { username, password }: WebhookCredentials,
): void {
  const encoded = /^Basic ([A-Za-z0-9+/=]+)$/i.exec(authorization ?? '')?.[1] ?? '';
  const given = createHash('sha256').update(Buffer.from(encoded, 'base64')).digest();
  const wanted = createHash('sha256').update(`${username}:${password}`).digest();
  if (timingSafeEqual(given, wanted)) return;
  throw new FailoverError(
    'unauthorized',
    'the Basic credentials of the webhook notification channel are missing or wrong',
    {
      headers: { 'WWW-Authenticate': 'Basic realm="autometric-failover", charset="UTF-8"' },
    },
  );
}

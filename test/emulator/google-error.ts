import { toJsonResponse } from './http.ts';
import type { HttpResponse } from './http.ts';

/** A failure of a Google API; `reason` is the one in `errors`, `status` the canonical name. */
export class GoogleError extends Error {
  readonly code: number;
  readonly status: string;
  readonly reason: string;

  constructor(code: number, status: string, reason: string, message: string) {
    super(message);
    this.name = 'GoogleError';
    this.code = code;
    this.status = status;
    this.reason = reason;
  }

  toResponse(): HttpResponse {
    const { code, message, status, reason } = this;
    const error = { code, message, errors: [{ message, domain: 'global', reason }], status };
    return toJsonResponse(code, { error }, { vary: 'Origin, X-Origin, Referer' });
  }
}

export function unauthenticated(): GoogleError {
  return new GoogleError(
    401,
    'UNAUTHENTICATED',
    'authError',
    'Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid ' +
      'authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.',
  );
}

export function noSuchPath(): GoogleError {
  return new GoogleError(404, 'NOT_FOUND', 'notFound', 'Method not found.');
}

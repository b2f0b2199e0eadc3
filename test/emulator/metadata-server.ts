import { splitPath, toJsonResponse, toTextResponse } from './http.ts';
import type { HttpRequest, HttpResponse } from './http.ts';

export interface ServiceAccount {
  email: string;
  uniqueId: string;
  projectId: string;
}

/** What the metadata server of an instance tells: who it is, and tokens for that. */
export interface MetadataIdentity {
  account: ServiceAccount;
  /** A token with these scopes, and how long it lives. */
  issueToken(scopes: string[]): { token: string; expiresInSeconds: number };
}

const DEFAULT_SCOPES = ['https://www.googleapis.com/auth/cloud-platform'];
const ROOT = '/computeMetadata/v1';
const ACCOUNT = `${ROOT}/instance/service-accounts/default`;

/** Answers as the metadata server does; without its header it refuses, so that no browser can be tricked. */
export function answerMetadata(identity: MetadataIdentity, now: number, request: HttpRequest): HttpResponse {
  const flavor = {
    'metadata-flavor': 'Google',
    server: 'Metadata Server for VM',
    date: new Date(now).toUTCString(),
  };
  if (request.headers['metadata-flavor'] !== 'Google') {
    return toTextResponse(403, 'Missing Metadata-Flavor:Google header.\n', flavor);
  }
  const { pathname, query } = splitPath(request.path);
  const { email, projectId, uniqueId } = identity.account;
  const text = (body: string) => ({
    status: 200,
    headers: { ...flavor, 'content-type': 'application/text' },
    body,
  });
  switch (pathname.replace(/\/$/, '')) {
    case '':
    case '/computeMetadata':
    case ROOT:
      return text('instance/\nproject/\n');
    case `${ROOT}/instance`:
      return text('id\nregion\nservice-accounts/\nzone\n');
    case `${ROOT}/instance/service-accounts`:
      return text(`${email}/\ndefault/\n`);
    case ACCOUNT:
      if (query.get('recursive') !== 'true') return text('aliases\nemail\nidentity\nscopes\ntoken\n');
      return toJsonResponse(200, { aliases: ['default'], email, scopes: DEFAULT_SCOPES }, flavor);
    case `${ACCOUNT}/email`:
      return text(email);
    case `${ACCOUNT}/scopes`:
      return text(`${DEFAULT_SCOPES.join('\n')}\n`);
    case `${ACCOUNT}/token`: {
      const scopes = query.get('scopes')?.split(',').filter(Boolean) ?? DEFAULT_SCOPES;
      const { token, expiresInSeconds } = identity.issueToken(scopes);
      const body = { access_token: token, expires_in: expiresInSeconds, token_type: 'Bearer' };
      return toJsonResponse(200, body, flavor);
    }
    case `${ROOT}/project/project-id`:
      return text(projectId);
    case `${ROOT}/project/numeric-project-id`:
      return text(uniqueId.slice(0, 12));
    case `${ROOT}/universe/universe-domain`:
    case `${ROOT}/universe/universe_domain`:
      return text('googleapis.com');
    default:
      return toTextResponse(404, `Not found: ${pathname}\n`, flavor);
  }
}

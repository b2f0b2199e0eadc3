import { splitPath, toJsonResponse, toTextResponse } from './http.ts';
import type { HttpRequest, HttpResponse } from './http.ts';

export interface ServiceAccount {
  email: string;
  uniqueId: string;
  projectId: string;
}

/** What the metadata server of an instance returns: its service account, and tokens for it. */
export interface MetadataIdentity {
  account: ServiceAccount;
  /** A token with these scopes, and how long it lives. */
  issueToken(scopes: string[]): { token: string; expiresInSeconds: number };
}

const defaultScopes = ['https://www.googleapis.com/auth/cloud-platform'];
const root = '/computeMetadata/v1';
const accountPath = `${root}/instance/service-accounts/default`;

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
    case root:
      return text('instance/\nproject/\n');
    case `${root}/instance`:
      return text('id\nregion\nservice-accounts/\nzone\n');
    case `${root}/instance/service-accounts`:
      return text(`${email}/\ndefault/\n`);
    case accountPath:
      if (query.get('recursive') !== 'true') return text('aliases\nemail\nidentity\nscopes\ntoken\n');
      return toJsonResponse(200, { aliases: ['default'], email, scopes: defaultScopes }, flavor);
    case `${accountPath}/email`:
      return text(email);
    case `${accountPath}/scopes`:
      return text(`${defaultScopes.join('\n')}\n`);
    case `${accountPath}/token`: {
      const scopes = query.get('scopes')?.split(',').filter(Boolean) ?? defaultScopes;
      const { token, expiresInSeconds } = identity.issueToken(scopes);
      const body = { access_token: token, expires_in: expiresInSeconds, token_type: 'Bearer' };
      return toJsonResponse(200, body, flavor);
    }
    case `${root}/project/project-id`:
      return text(projectId);
    case `${root}/project/numeric-project-id`:
      return text(uniqueId.slice(0, 12));
    case `${root}/universe/universe-domain`:
    case `${root}/universe/universe_domain`:
      return text('googleapis.com');
    default:
      return toTextResponse(404, `Not found: ${pathname}\n`, flavor);
  }
}

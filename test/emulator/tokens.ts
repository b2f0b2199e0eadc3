import type { MetadataIdentity, ServiceAccount } from './metadata-server.ts';

const scopePrefix = 'https://www.googleapis.com/auth/';
const lifetimeMs = 3_600_000;

interface Token {
  user: string;
  /** undefined: a person's token, with all scopes. */
  scopes: string[] | undefined;
  expiresAt: number;
}

/** Knows the user of each access token, for Google's APIs and for Kubernetes. */
export class Tokens implements MetadataIdentity {
  readonly account: ServiceAccount;
  readonly #tokens = new Map<string, Token>();
  readonly #now: () => number;
  #sequence = 0;

  constructor(account: ServiceAccount, now: () => number) {
    this.account = account;
    this.#now = now;
  }

  /** The function's token, from the metadata server. */
  issueToken(scopes: string[]): { token: string; expiresInSeconds: number } {
    const token = `ya29.c.service-account-${++this.#sequence}`;
    this.#tokens.set(token, { user: this.account.email, scopes, expiresAt: this.#now() + lifetimeMs });
    return { token, expiresInSeconds: lifetimeMs / 1000 - 1 };
  }

  /** A token that does not expire, for anybody: a person with kubectl, another service account, another manager. */
  tokenFor(user: string): string {
    const token = `ya29.user-${Buffer.from(user).toString('base64url')}`;
    this.#tokens.set(token, { user, scopes: undefined, expiresAt: Infinity });
    return token;
  }

  /** Forgets all tokens, as a revocation does: 401 until new ones are asked for. */
  revokeAll(): void {
    this.#tokens.clear();
  }

  /** For the Container and Compute APIs, which want cloud-platform. */
  authenticateForGoogle = (authorization: string | undefined): string | undefined => {
    const token = this.#find(authorization);
    return token && hasScope(token, 'cloud-platform') ? token.user : undefined;
  };

  /** For GKE, which knows a service account by its e-mail only if the token has userinfo.email. */
  authenticateForKubernetes = (authorization: string | undefined): string | undefined => {
    const token = this.#find(authorization);
    if (!token || !hasScope(token, 'cloud-platform')) return undefined;
    return hasScope(token, 'userinfo.email') ? token.user : this.account.uniqueId;
  };

  #find(authorization: string | undefined): Token | undefined {
    const token = this.#tokens.get(/^Bearer (.+)$/i.exec(authorization ?? '')?.[1] ?? '');
    return token && token.expiresAt > this.#now() ? token : undefined;
  }
}

function hasScope({ scopes }: Token, scope: string): boolean {
  return scopes === undefined || scopes.includes(scopePrefix + scope);
}

/** Bearer tokens for any user, and the webhook by which the API server checks them. */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface TokenReviewer {
  /** Where the API server asks: plain HTTP, on loopback only. */
  url: string;
  /** A token that the API server takes for this user; `system:authenticated` is added by itself. */
  token(user: string, groups?: string[]): string;
  close(): void;
}

/** Serves `TokenReview` for tokens that it has itself signed: the token names the user, nothing is stored. */
export async function serveTokenReview(): Promise<TokenReviewer> {
  const secret = randomBytes(32);
  const sign = (claims: string): Buffer => createHmac('sha256', secret).update(claims).digest();

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const user = toUser((await readToken(request)) ?? '', sign);
    response.setHeader('Content-Type', 'application/json');
    response.end(
      JSON.stringify({
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenReview',
        status: user === undefined ? { authenticated: false } : { authenticated: true, user },
      }),
    );
  };
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, '127.0.0.1', resolve);
  });
  server.unref();
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    token(user, groups = []) {
      const claims = Buffer.from(JSON.stringify({ username: user, groups })).toString('base64url');
      return `${claims}.${sign(claims).toString('base64url')}`;
    },
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

function toUser(token: string, sign: (claims: string) => Buffer): unknown {
  const [claims = '', signature = ''] = token.split('.');
  const expected = sign(claims);
  const given = Buffer.from(signature, 'base64url');
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
  return JSON.parse(Buffer.from(claims, 'base64url').toString());
}

async function readToken(request: IncomingMessage): Promise<string | undefined> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  try {
    return (JSON.parse(text) as { spec?: { token?: string } } | null)?.spec?.token;
  } catch {
    return undefined;
  }
}

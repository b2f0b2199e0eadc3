import { expect } from 'chai';
import type { EmulatedCluster } from './cluster.ts';
import type { Emulator } from './emulator.ts';
import type { HttpResponse } from './http.ts';
import { createTestWorld } from './test-world.ts';

const root = '/computeMetadata/v1';
const tokenPath = `${root}/instance/service-accounts/default/token`;
const platform = 'https://www.googleapis.com/auth/cloud-platform';
const email = 'https://www.googleapis.com/auth/userinfo.email';

describe('answerMetadata', () => {
  it('refuses requests without its header, and always sends its own', () => {
    const { emulator } = createTestWorld();
    const refused = emulator.handleMetadata({ method: 'GET', path: tokenPath, headers: {}, body: '' });
    expect(refused.status).to.equal(403);
    expect(refused.headers).to.include({ 'metadata-flavor': 'Google' });
    expect(get(emulator, '/').headers).to.include({ 'metadata-flavor': 'Google' });
  });

  const texts: { path: string; expected: string }[] = [
    { path: `${root}/project/project-id`, expected: 'demo-project' },
    {
      path: `${root}/instance/service-accounts/default/email`,
      expected: 'failover@demo-project.iam.gserviceaccount.com',
    },
    { path: `${root}/universe/universe-domain`, expected: 'googleapis.com' },
  ];
  for (const { path, expected } of texts) {
    it(`answers ${path}`, () => {
      const { emulator } = createTestWorld();
      expect(get(emulator, path)).to.include({ status: 200, body: expected });
    });
  }

  it('returns 404 for unknown paths', () => {
    expect(get(createTestWorld().emulator, `${root}/instance/gpu`).status).to.equal(404);
  });
});

describe('Tokens', () => {
  const cases: { scopes: string[] | undefined; user: string; google: boolean }[] = [
    { scopes: [platform, email], user: 'failover@demo-project.iam.gserviceaccount.com', google: true },
    // The user name of a service account whose token has no e-mail.
    { scopes: [platform], user: '104711811223344556677', google: true },
    { scopes: undefined, user: '104711811223344556677', google: true },
    { scopes: [email], user: '401', google: false },
  ];
  for (const { scopes, user, google } of cases) {
    it(`with the scopes ${scopes?.map((scope) => scope.slice(32)).join(' and ') ?? 'of the default'}: ${user}`, () => {
      const { emulator, cluster } = createTestWorld();
      const query = scopes ? `?scopes=${encodeURIComponent(scopes.join(','))}` : '';
      const answer = JSON.parse(get(emulator, tokenPath + query).body) as {
        access_token: string;
        expires_in: number;
      };
      expect(answer.expires_in).to.equal(3599);
      expect(whoAmI(cluster, answer.access_token)).to.equal(user);
      const container = emulator.handleContainer(withToken(answer.access_token, `/v1/${cluster.name}`));
      expect(container.status).to.equal(google ? 200 : 401);
    });
  }

  it('are valid for an hour', () => {
    const { emulator, cluster, advance } = createTestWorld();
    const { token } = emulator.tokens.issueToken([platform, email]);
    advance(3599);
    expect(whoAmI(cluster, token)).not.to.equal('401');
    advance(1);
    expect(whoAmI(cluster, token)).to.equal('401');
  });

  it('are unknown after they are revoked', () => {
    const { emulator, cluster } = createTestWorld();
    const token = emulator.tokens.tokenFor('a@example.com');
    expect(whoAmI(cluster, token)).to.equal('a@example.com');
    emulator.tokens.revokeAll();
    expect(whoAmI(cluster, token)).to.equal('401');
  });
});

function get(emulator: Emulator, path: string): HttpResponse {
  return emulator.handleMetadata({ method: 'GET', path, headers: { 'metadata-flavor': 'Google' }, body: '' });
}

function withToken(
  token: string,
  path: string,
): { method: string; path: string; headers: Record<string, string>; body: string } {
  return { method: 'GET', path, headers: { authorization: `Bearer ${token}` }, body: '' };
}

/** Makes Kubernetes refuse everything, and reads from the refusal which user the token stands for. */
function whoAmI(cluster: EmulatedCluster, token: string): string {
  const allow = cluster.deny({ verb: 'list' });
  const { status, body } = cluster.handle(withToken(token, '/api/v1/nodes'));
  allow();
  return status === 401 ? '401' : (/User \\"(.+?)\\"/.exec(body)?.[1] ?? body);
}

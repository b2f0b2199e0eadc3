import { expect } from 'chai';
import { readConfig } from '../../src/config.ts';
import { serveGoogleCloud } from './google-cloud.ts';
import type { GoogleCloud } from './google-cloud.ts';
import { needs, run } from './run.ts';
import type { CommandResult } from './run.ts';

const cluster = 'projects/my-project/locations/us-central1/clusters/train';
const args = ['--project', 'my-project', '--region', 'us-central1', '--clusters', cluster];
const members = ['group:training@example.com', 'user:eve@example.com'];
const viewers = members.flatMap((member) => ['--viewer', member]);

const parent = 'projects/my-project/locations/us-central1';
const functionName = `${parent}/functions/autometric-failover`;

describe('deploy.sh --viewer, by the real gcloud on a simulated Google Cloud', function () {
  this.timeout(1_500_000);
  let cloud: GoogleCloud;
  let first: CommandResult;
  const environment = () => ({ ...cloud.environment, RETRY_SECONDS: '0', PROPAGATION_SECONDS: '0' });

  before(async function () {
    needs(this, 'gcloud');
    cloud = await serveGoogleCloud();
    first = await run('deploy/deploy.sh', [...args, '--invoker', 'group:oncall@example.com', ...viewers], {
      env: environment(),
    });
  });
  after(() => cloud?.close());

  type Parts = Record<string, Record<string, unknown>>;
  const partsOf = (name: string) => cloud.resources.get(name) as Parts | undefined;
  const bindingsOf = (service: string) =>
    (cloud.resources.get(`${parent}/services/${service} policy`) as { bindings?: unknown[] } | undefined)
      ?.bindings;

  it('deploys a function that only shows, with the same settings', () => {
    expect(first.code, first.stderr).to.equal(0);
    const [act, show] = [partsOf(functionName), partsOf(`${functionName}-status`)];
    expect(act?.['buildConfig']).to.include({ entryPoint: 'failover' });
    expect(show?.['buildConfig']).to.include({ entryPoint: 'failoverStatus' });
    const settings = show?.['serviceConfig']?.['environmentVariables'] as Record<string, string>;
    expect(settings).to.deep.equal(act?.['serviceConfig']?.['environmentVariables']);
    expect(readConfig(settings).clusters.map(({ fullName }) => fullName)).to.deep.equal([cluster]);
  });

  it('lets viewers call that one, and nobody who is not named', () => {
    expect(bindingsOf('autometric-failover-status')).to.deep.equal([{ role: 'roles/run.invoker', members }]);
    expect(bindingsOf('autometric-failover')).to.deep.equal([
      { role: 'roles/run.invoker', members: ['group:oncall@example.com'] },
    ]);
  });

  it('says how to look', () => {
    expect(first.stdout).to.include(
      'gcloud run services proxy autometric-failover-status --project my-project --region us-central1',
    );
  });

  // F-243: an upgrade without --viewer left the old version to show what the new one writes.
  it('brings it up to date when it is run again without viewers, and keeps them', async () => {
    const start = cloud.requests.length;
    const again = await run('deploy/deploy.sh', args, { env: environment() });
    expect(again.code, again.stderr).to.equal(0);
    const patched = cloud.requests.slice(start).filter(({ method }) => method === 'PATCH');
    expect(patched.map(({ path }) => path)).to.include(`/v2/${functionName}-status`);
    expect(bindingsOf('autometric-failover-status')).to.deep.equal([{ role: 'roles/run.invoker', members }]);
  });
});

describe('deploy.sh --viewer', () => {
  it('is not needed', async () => {
    const { code, stdout } = await run('deploy/deploy.sh', [...args, '--dry-run']);
    expect(code).to.equal(0);
    expect(stdout).not.to.include('-status');
  });

  it('is nobody who is not known', async () => {
    const { code, stderr } = await run('deploy/deploy.sh', [...args, '--viewer', 'allUsers', '--dry-run']);
    expect(code).to.equal(1);
    expect(stderr).to.match(/--viewer allUsers: .*name people, groups or service accounts/);
  });
});

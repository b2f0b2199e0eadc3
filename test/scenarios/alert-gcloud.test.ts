import { expect } from 'chai';
import { parse } from 'yaml';
import { onEmulatedGke } from '../deploy/emulated-gke.ts';
import type { EmulatedGke } from '../deploy/emulated-gke.ts';
import { serveGoogleCloud } from '../deploy/google-cloud.ts';
import type { GoogleCloud } from '../deploy/google-cloud.ts';
import { needs, run } from '../deploy/run.ts';

const functionName = 'projects/demo-project/locations/us-central1/functions/failover';

/** The real gcloud, for which the function is deployed as in Google Cloud. */
async function withGcloud(
  use: (
    gke: EmulatedGke,
    call: (data: unknown) => ReturnType<typeof run>,
    cloud: GoogleCloud,
  ) => Promise<void>,
): Promise<void> {
  await onEmulatedGke(async (gke) => {
    const cloud = await serveGoogleCloud();
    cloud.resources.set(functionName, {
      name: functionName,
      environment: 'GEN_2',
      state: 'ACTIVE',
      buildConfig: { runtime: 'nodejs24', entryPoint: 'failover' },
      serviceConfig: { uri: gke.deployed.url, timeoutSeconds: 300, ingressSettings: 'ALLOW_ALL' },
      url: 'https://us-central1-demo-project.cloudfunctions.net/failover',
    });
    const call = (data: unknown) =>
      run(
        'gcloud',
        ['functions', 'call', 'failover', '--region=us-central1', `--data=${JSON.stringify(data)}`],
        {
          env: {
            ...cloud.environment,
            CLOUDSDK_CORE_PROJECT: 'demo-project',
            // The proxy is for Cloud Run's API; the function itself is called where it says it is.
            CLOUDSDK_PROXY_TYPE: undefined,
            CLOUDSDK_PROXY_ADDRESS: undefined,
            CLOUDSDK_PROXY_PORT: undefined,
          },
        },
      );
    try {
      await use(gke, call, cloud);
    } finally {
      await cloud.close();
    }
  });
}

describe('gcloud functions call', function () {
  before(function () {
    needs(this, 'gcloud');
  });

  it('calls the function and shows its answer; the log has the reason of a refusal', async () => {
    await withGcloud(async ({ cluster, deployed }, call, cloud) => {
      const cordon = {
        id: 'incident-42',
        type: 'cordon_nodepool',
        requestor: 'alice',
        reason: 'ECC errors',
        node_pool: 'slice-b',
      };
      const done = await call(cordon);
      expect(done.code, done.stderr).to.equal(0);
      // It prints the body as a YAML string.
      expect(JSON.parse(parse(done.stdout) as string)).to.deep.equal({
        id: 'incident-42',
        steps: [{ step: 'cordon', target: 'slice-b', nodes: 16, cordoned: 16, already_cordoned: 0 }],
      });
      expect(cluster.nodes('slice-b').every(({ spec }) => spec.unschedulable)).to.equal(true);
      expect(cloud.requests.map(({ method, path }) => `${method} ${path}`)).to.include(
        `GET /v2/${functionName}`,
      );
      // The identity token's e-mail is told, and never taken for who asks.
      const last = () => JSON.parse(deployed.lines().at(-1) ?? '{}') as Record<string, unknown>;
      expect(last()).to.include({ outcome: 'done', requestor: 'alice' });

      const refused = await call({ ...cordon, id: 'incident-43', dryRun: true });
      expect(refused.code).to.equal(1);
      expect(refused.stderr)
        .to.match(/400/)
        .and.not.match(/dry_run/);
      expect(last()).to.include({ outcome: 'refused', code: 'invalid_action', action_id: 'incident-43' });
      expect(last()['message']).to.equal('unknown field "dryRun", did you mean "dry_run"?');
    });
  });
});

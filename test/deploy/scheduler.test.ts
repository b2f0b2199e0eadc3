import { expect } from 'chai';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { onEmulatedGke } from './emulated-gke.ts';
import { serveGoogleCloud } from './google-cloud.ts';
import { needs, root, run } from './run.ts';
import { resourceOf, stateAfter } from './terraform.ts';

const uri = 'https://autometric-failover-abc-uc.a.run.app';
const tick = 'autometric-failover-tick@my-project.iam.gserviceaccount.com';

/** The line of docs/api.md, for the project of the tests. */
async function documentedLine(): Promise<string> {
  const page = await readFile(join(root, 'docs/api.md'), 'utf8');
  const [, line = ''] = /^```sh\n(gcloud scheduler jobs create http .+?)^```$/ms.exec(page) ?? [];
  return line.replaceAll('PROJECT', 'my-project');
}

describe('the line that has Cloud Scheduler call reconcile, by the real gcloud', function () {
  this.timeout(120_000);
  before(function () {
    needs(this, 'gcloud');
  });

  it('creates the job that deploy.sh and Terraform create', async () => {
    const cloud = await serveGoogleCloud();
    try {
      const { code, stderr } = await run('bash', ['-c', await documentedLine()], { env: cloud.environment });
      expect(code, stderr).to.equal(0);
      const name = 'projects/my-project/locations/us-central1/jobs/autometric-failover-reconcile';
      const { httpTarget, retryConfig, ...job } = cloud.resources.get(name) ?? {};
      expect(job).to.deep.equal({
        name,
        schedule: '* * * * *',
        timeZone: 'Etc/UTC',
        attemptDeadline: '300s',
      });
      expect(httpTarget).to.deep.include({
        uri: `${uri}/reconcile`,
        httpMethod: 'POST',
        oidcToken: { serviceAccountEmail: tick, audience: uri },
      });
      // 0 is Cloud Scheduler's default, and gcloud sends what was asked for.
      expect(retryConfig ?? {}).to.satisfy((given: { retryCount?: number }) => !given.retryCount);
    } finally {
      await cloud.close();
    }
  });
});

describe("Cloud Scheduler's job of Terraform", function () {
  this.timeout(1_500_000);
  before(function () {
    needs(this, 'terraform');
  });

  it('calls what the function that it deploys answers', async () => {
    const run = await stateAfter('defaults/reconcile');
    const job = resourceOf(run, 'google_cloud_scheduler_job.reconcile[0]');
    const [target] = job['http_target'] as { uri: string; http_method: string }[];
    await onEmulatedGke(async ({ deployed }) => {
      const { pathname } = new URL(target?.uri ?? '');
      const response = await fetch(`${deployed.url}${pathname}`, { method: target?.http_method ?? '' });
      expect(response.status).to.equal(200);
      expect(await response.json()).to.have.nested.property('clusters[0].open', 0);
    });
  });
});

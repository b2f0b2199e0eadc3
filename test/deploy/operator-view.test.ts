import { expect } from 'chai';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { drawDashboard } from './dashboard-picture.ts';
import type { Dashboard } from './dashboard-picture.ts';
import { needs, root } from './run.ts';
import { resourceOf, stateAfter } from './terraform.ts';

describe('what an operator is shown', function () {
  this.timeout(1_500_000);
  before(function () {
    needs(this, 'terraform');
  });

  it('is drawn in docs/pictures/dashboard.svg: UPDATE_PICTURE=1 npm run test:deploy writes it', async () => {
    const path = join(root, 'docs/pictures/dashboard.svg');
    const state = await stateAfter('alerts/pubsub');
    const { dashboard_json: json } = resourceOf(state, 'google_monitoring_dashboard.this[0]');
    const drawn = drawDashboard(JSON.parse(json as string) as Dashboard);
    if (process.env['UPDATE_PICTURE']) await writeFile(path, drawn);
    else expect(await readFile(path, 'utf8')).to.equal(drawn);
    expect(drawn).to.match(/Not a screenshot/);
  });

  it('pages as loudly as the table of the runbook says, for each alert about the function', async () => {
    const page = await readFile(join(root, 'docs/runbook.md'), 'utf8');
    const [, section = ''] = /^## What pages$([^]*?)^## /m.exec(page) ?? [];
    const listed = [...section.matchAll(/^\| \*(.+?)\* \| (\w+) \|/gm)].map(([, name, severity]) => [
      name,
      severity,
    ]);
    const states = await Promise.all([stateAfter('alerts/pubsub'), stateAfter('webhook/webhook')]);
    const policies = states
      .flatMap(({ resources }) => resources)
      .filter(({ type, name }) => type === 'google_monitoring_alert_policy' && name !== 'failover')
      .map(({ values }) => [
        String(values['display_name']).replace('autometric-failover: ', ''),
        values['severity'],
      ]);
    expect(policies.length).to.be.at.least(5);
    expect(Object.fromEntries(listed)).to.deep.equal(Object.fromEntries(policies));
  });
});

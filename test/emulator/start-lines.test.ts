import { expect } from 'chai';
import { describeUsage } from '../fixtures/usage-text.ts';
import { Emulator } from './emulator.ts';
import { demoCluster } from './scenario.ts';
import { SwitchesApi, switchesPath } from './switches-api.ts';

describe('the lines that npm start prints', () => {
  it('have one for each switch of the emulated GKE, and none for a switch that there is not', () => {
    const emulator = new Emulator();
    emulator.addCluster({ name: demoCluster });
    const answer = new SwitchesApi(emulator).handle({
      method: 'PUT',
      path: `${switchesPath}/none`,
      query: {},
      headers: {},
      body: '',
    } as never);
    const { switches } = JSON.parse(answer.body) as { switches: string[] };
    expect(switches).to.have.length.at.least(19);
    const usage = describeUsage(
      'http://127.0.0.1:1',
      'a test.',
      '/kubeconfig',
      'http://127.0.0.1:2/switches',
    );
    const lines = [...usage.matchAll(/^ *turn_on ([a-z-]+)\/[a-z-]+$/gm)].map(([, name]) => name);
    expect(lines).to.have.members(switches);
  });
});

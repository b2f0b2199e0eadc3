import { expect } from 'chai';
import { createSystemClock } from '../../src/clock.ts';
import { readConfig } from '../../src/config.ts';
import { Emulator } from '../emulator/emulator.ts';
import { ServedHandler } from '../fixtures/served-handler.ts';
import { createTrainWorld, trainCluster } from '../fixtures/train-world.ts';
import { editRecord, restartOfTrain } from '../fixtures/verdicts.ts';
import { createVirtualServices } from '../fixtures/virtual-services.ts';

describe('GET /actions/ID of a record that somebody has broken', () => {
  const served = ServedHandler.forSuite();

  // F-232: with `wait` the answer was 409 action_in_progress, as if the action were being carried out.
  it('shows it as broken, with `wait` as without, and waits for nothing', async () => {
    const emulator = new Emulator();
    const cluster = createTrainWorld(emulator);
    const config = readConfig({ CLUSTERS: trainCluster });
    const clock = createSystemClock();
    const travel = async <T>(_: unknown, carryOut: () => T) => carryOut();
    const { connect } = createVirtualServices({ config, emulator, clock, travel });
    served.use({ config, connect });
    expect((await served.post({ requestor: 'test', reason: 'a test', ...restartOfTrain })).status).to.equal(
      200,
    );
    editRecord({ cluster }, 'a', { plan: '{"restart":' });
    const answers = [];
    const before = emulator.requests.length;
    for (const query of ['', '?wait=20']) {
      const response = await fetch(`http://127.0.0.1:${served.port}/actions/a${query}`);
      expect(response.status, query).to.equal(200);
      answers.push(await response.json());
    }
    expect(answers[0]).to.include({ id: 'a', state: 'broken', node_pool: 'slice-a' });
    expect(answers[1]).to.deep.equal(answers[0]);
    // The record was read once for each.
    expect(emulator.requests.length - before).to.equal(2);
  });
});

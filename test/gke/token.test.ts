import { expect } from 'chai';
import { Deadline } from '../../src/clock.ts';
import { readConfig } from '../../src/config.ts';
import type { Config } from '../../src/config.ts';
import { createConnect } from '../../src/gke/cluster.ts';
import type { ClusterConnection } from '../../src/gke/cluster.ts';
import { getGoogleAuth } from '../../src/gke/google.ts';
import { listPool } from '../../src/gke/nodes.ts';
import { Emulator } from '../emulator/emulator.ts';
import { createDemoWorld } from '../emulator/scenario.ts';
import { serveEmulator } from '../emulator/server.ts';
import type { EmulatorServer } from '../emulator/server.ts';
import { setEnvironment } from '../fixtures/environment.ts';

const scopes = ['cloud-platform', 'userinfo.email'].map((name) => `https://www.googleapis.com/auth/${name}`);

// F-92: the token of an action that ran for longer than 5 minutes expired half-way, and all further calls were 401.
describe('the token of a connection', () => {
  let restoreEnvironment: () => void;
  let emulator: Emulator;
  let server: EmulatorServer;
  let config: Config;
  let connection: ClusterConnection;
  let now: number;
  /** Answers for the questions for a token, in order; the last one answers all further ones. */
  let answers: (() => Promise<string>)[];
  let asked: number;

  beforeEach(async () => {
    emulator = new Emulator();
    const cluster = createDemoWorld(emulator);
    server = await serveEmulator(emulator);
    config = readConfig({ ...server.environment, CLUSTERS: cluster.name });
    now = Date.now();
    asked = 0;
    const first = issue();
    answers = [async () => first];
    getGoogleAuth(config).getAccessToken = () => {
      const answer = answers[Math.min(asked++, answers.length - 1)];
      if (!answer) throw new Error('no answer is left');
      return answer();
    };
    const clock = { now: () => now, sleep: async () => undefined };
    const [name] = config.clusters;
    if (!name) throw new Error('no cluster is configured');
    // The Container API's client asks for its headers by another way.
    restoreEnvironment = setEnvironment(server.environment);
    connection = await createConnect(config, clock)(name, new Deadline(clock, 540_000));
  });

  afterEach(async () => {
    connection.close();
    await server.close();
    restoreEnvironment();
  });

  it('is the next one for the calls that come after it was issued', async () => {
    const { promise, resolve } = Promise.withResolvers<string>();
    answers.push(() => promise);
    now += 30_000;
    expect(await read()).to.equal(16);
    emulator.tokens.revokeAll();
    resolve(issue());
    await promise;
    expect(await read()).to.equal(16);
  });

  it('holds no call up while the next one is asked for', async () => {
    answers.push(() => new Promise(() => undefined));
    now += 30_000;
    expect(await read()).to.equal(16);
    expect(await read()).to.equal(16);
    expect(asked).to.equal(2);
  });

  it('stays where the next one cannot be had, and is asked for again', async () => {
    answers.push(() => Promise.reject(new Error('the metadata server is away')));
    for (let time = 0; time < 3; time++) {
      now += 30_000;
      expect(await read()).to.equal(16);
    }
    expect(asked).to.equal(4);
  });

  it('is asked for at most once in 30 s', async () => {
    for (let time = 0; time < 5; time++) await read();
    expect(asked).to.equal(1);
    now += 29_999;
    await read();
    expect(asked).to.equal(1);
  });

  async function read(): Promise<number> {
    return (await listPool(connection.kubernetes, 'slice-a')).length;
  }

  function issue(): string {
    return emulator.tokens.issueToken(scopes).token;
  }
});

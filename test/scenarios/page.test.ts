import { request } from 'node:http';
import { load } from 'cheerio';
import { expect } from 'chai';
import { readConfig } from '../../src/config.ts';
import type { EmulatedCluster } from '../emulator/cluster.ts';
import { Emulator } from '../emulator/emulator.ts';
import { json, ServedHandler } from '../fixtures/served-handler.ts';
import { createTrainWorld, nodeNames, trainCluster } from '../fixtures/train-world.ts';
import { createVirtualServices } from '../fixtures/virtual-services.ts';

/** What Chromium sends when somebody types an address. */
const browser = {
  Accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8',
};

const restart = {
  id: 'a',
  requestor: 'alice',
  reason: 'ECC errors',
  type: 'cordon_nodepool_and_restart_jobset',
  jobset_name: 'train',
};

describe('what a browser gets', () => {
  const served = ServedHandler.forSuite();
  let emulator: Emulator;
  let cluster: EmulatedCluster;

  beforeEach(() => {
    emulator = new Emulator();
    cluster = createTrainWorld(emulator);
    use();
  });

  function use(options: Parameters<typeof served.use>[0] = {}): void {
    const config = readConfig({ CLUSTERS: trainCluster });
    const { connect } = createVirtualServices({ config, emulator });
    served.use({ config, connect, ...options });
  }

  const ask = (path: string, headers: Record<string, string> = browser, method = 'GET') =>
    fetch(`http://127.0.0.1:${served.port}${path}`, { method, headers });

  const post = async (body: object, path = '/actions') =>
    (
      await fetch(`http://127.0.0.1:${served.port}${path}`, {
        method: 'POST',
        headers: json,
        body: JSON.stringify(body),
      })
    ).json() as Promise<Record<string, unknown>>;

  for (const path of ['/', '/actions', '/actions/a', '/actions/', '/actions?node_pool=slice-a']) {
    it(`is a page at ${path}, with what keeps it to itself`, async () => {
      await post(restart);
      const answer = await ask(path);
      expect(answer.status).to.equal(200);
      expect(answer.headers.get('content-type')).to.equal('text/html; charset=utf-8');
      expect(answer.headers.get('content-security-policy')).to.match(
        /^default-src 'none'; .*frame-ancestors 'none'$/,
      );
      expect(answer.headers.get('x-content-type-options')).to.equal('nosniff');
      expect(answer.headers.get('cache-control')).to.equal('no-store');
      expect(answer.headers.get('vary')).to.equal('Accept');
      const $ = load(await answer.text());
      expect($('main').text()).to.include('Cordon slice-a and restart default/train');
    });
  }

  for (const [who, headers] of [
    ['curl', { Accept: '*/*' }],
    ['a program', { Accept: 'application/json' }],
    ['one that takes both alike', { Accept: 'application/json, text/html' }],
  ] as const) {
    it(`is JSON for ${who}`, async () => {
      await post(restart);
      for (const path of ['/', '/actions', '/actions/a']) {
        const answer = await ask(path, headers);
        expect(answer.headers.get('content-type'), path).to.match(/^application\/json/);
        expect(answer.headers.get('vary')).to.equal('Accept');
        expect(await answer.json()).to.be.an('object');
      }
    });
  }

  it('is JSON at /status, so that there is an address of it', async () => {
    expect((await ask('/status')).headers.get('content-type')).to.match(/^application\/json/);
  });

  it('has no body for a HEAD', async () => {
    const answer = await ask('/', browser, 'HEAD');
    expect(answer.headers.get('content-type')).to.equal('text/html; charset=utf-8');
    expect(await answer.text()).to.equal('');
  });

  for (const [path, status, text] of [
    ['/actions/nope', 404, /there is no action nope/],
    ['/actions?nodepool=a', 400, /unknown field "nodepool"/],
    ['/nowhere', 404, /there is nothing at \/nowhere/],
    ['/alerts', 405, /GET is not allowed/],
  ] as const) {
    it(`is a page that says what is wrong with ${path}`, async () => {
      const answer = await ask(path);
      expect(answer.status).to.equal(status);
      const $ = load(await answer.text());
      expect($('main').text()).to.match(text);
      if (status === 405) expect(answer.headers.get('allow')).to.equal('POST');
    });
  }

  it('is JSON from the public webhook, which shows nothing', async () => {
    use({ webhook: { username: 'u', password: 'p' } });
    const answer = await ask('/');
    expect(answer.status).to.equal(404);
    expect(answer.headers.get('content-type')).to.match(/^application\/json/);
  });

  it('says on failoverStatus that what acts goes elsewhere', async () => {
    await post(restart);
    use({ name: 'failoverStatus' });
    expect(await (await ask('/actions/a')).text()).to.include('This function only shows');
  });

  it('writes nothing, and leaves no line in the log', async () => {
    await post(restart);
    const before = emulator.writes().length;
    const lines = served.lines.length;
    for (const path of ['/', '/actions', '/actions/a']) expect((await ask(path)).status).to.equal(200);
    expect(emulator.writes()).to.have.length(before);
    expect(served.lines).to.have.length(lines);
  });

  // F-236: each browser that was open read the whole cluster every 10 s, while the function needed the API server.
  it('is read once for all who look within a few seconds', async () => {
    await post(restart);
    for (const path of ['/', '/actions', '/actions/a']) {
      await Promise.all([ask(path), ask(path)]);
      const once = emulator.requests.length;
      await ask(path);
      expect(emulator.requests.length, path).to.equal(once);
    }
  });

  // F-238: the page wrote the pool that the function had found into the line that resumes. The id had a request without a
  // pool, so the line was refused: 409 id_reused.
  it('has a line that really resumes: the body that its caller sent', async () => {
    const [node = ''] = nodeNames(cluster, 'slice-a');
    const allow = cluster.deny({ verb: 'patch', resource: 'nodes', name: node });
    expect(await post({ ...restart, on_failure: 'repair_nodepool' })).to.include({ code: 'upstream_failed' });
    allow();
    const $ = load(await (await ask('/actions/a')).text());
    const line =
      $('pre code')
        .toArray()
        .map((code) => $(code).text())
        .find((text) => text.includes('on_failure')) ?? '';
    expect(line).to.include(`curl -s 127.0.0.1:${served.port}/actions `).and.not.to.include('node_pool');
    const body = JSON.parse(/ -d '(.*)'$/.exec(line)?.[1] ?? '') as object;
    const steps = (await post(body))['steps'] as object[];
    expect(steps[1]).to.include({ step: 'restart', outcome: 'restarted' });
  });

  it('has a line that undoes the cordon', async () => {
    await post(restart);
    const $ = load(await (await ask('/actions/a')).text());
    const line = $('pre code').first().text();
    const body = JSON.parse(/ -d '(.*)'$/.exec(line)?.[1] ?? '') as object;
    expect(await post({ ...body, requestor: 'bob' }))
      .to.have.property('steps')
      .that.deep.includes({
        step: 'uncordon',
        target: 'slice-a',
        nodes: 4,
        uncordoned: 4,
        kept: 0,
      });
  });

  it('has no line with a Host that is not this machine, because somebody else may have chosen it', async () => {
    await post(restart);
    const headers = { ...browser, Host: '"$(evil.example)"' };
    const text = await new Promise<string>((resolve, reject) => {
      request({ port: served.port, host: '127.0.0.1', path: '/actions/a', headers }, (response) => {
        let all = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (all += chunk));
        response.on('end', () => resolve(all));
      })
        .on('error', reject)
        .end();
    });
    expect(text).to.include('curl -s localhost:8080/actions ').and.not.to.include('evil.example');
  });

  // F-237: another site sends through the proxy of a person who only looks.
  for (const path of ['/', '/actions', '/alerts', '/reconcile']) {
    it(`is no door for other sites to ${path}`, async () => {
      for (const origin of ['https://evil.example', 'null', `http://127.0.0.1:${served.port}`]) {
        const answer = await fetch(`http://127.0.0.1:${served.port}${path}`, {
          method: 'POST',
          headers: { ...json, Origin: origin },
          body: JSON.stringify(restart),
        });
        expect(answer.status).to.equal(403);
        expect(await answer.json()).to.include({ code: 'forbidden' });
      }
      expect(emulator.requests).to.deep.equal([]);
    });
  }

  // F-235: a reason of an action that anybody who may call has sent.
  it('shows a reason of <script> as text', async () => {
    await post({ ...restart, reason: '<script>alert(1)</script>', requestor: '"><img src=x>' });
    for (const path of ['/', '/actions', '/actions/a']) {
      const $ = load(await (await ask(path)).text());
      expect($('script, img'), path).to.have.length(1);
      expect($('main').text(), path).to.include('<script>alert(1)</script>').and.include('"><img src=x>');
    }
  });
});

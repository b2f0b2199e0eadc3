import { expect } from 'chai';
import { cordon, json, ServedHandler, uuid } from './fixtures/served-handler.ts';

describe('createHandler', () => {
  const served = ServedHandler.forSuite();

  describe('as the public webhook', () => {
    const webhook = { username: 'monitoring', password: 'correct horse battery' };
    const right = {
      ...json,
      Authorization: `Basic ${Buffer.from('monitoring:correct horse battery').toString('base64')}`,
    };

    beforeEach(() => served.use({ webhook }));

    // F-6: any pod in the cluster could trigger deletions.
    for (const path of ['/', '/actions']) {
      it(`accepts no action at ${path}, whatever the credentials`, async () => {
        expect(await served.post(cordon, { path, headers: right })).to.deep.include({ status: 404 });
        expect(served.connections).to.equal(0);
      });
    }

    it('challenges a request without credentials, and reads nothing of the body', async () => {
      for (const body of [cordon, '{"x', undefined]) {
        const answer = await served.post(body, { path: '/alerts' });
        expect(answer.status).to.equal(401);
        expect(answer.headers.get('www-authenticate')).to.match(/^Basic realm="[^"]+"/);
        expect(answer.body).to.deep.include({ code: 'unauthorized' });
        expect(answer.body.id).to.match(uuid);
      }
      // Cloud Monitoring asks so first, and an alert on errors must not go off for it.
      expect(served.lines.every(({ severity }) => severity === 'INFO')).to.equal(true);
    });

    it('refuses wrong credentials with a warning', async () => {
      const wrong = `Basic ${Buffer.from('monitoring:guess').toString('base64')}`;
      const answer = await served.post(cordon, {
        path: '/alerts',
        headers: { ...json, Authorization: wrong },
      });
      expect(answer.status).to.equal(401);
      expect(served.lines.at(-1)).to.include({ severity: 'WARNING', event: 'refused', code: 'unauthorized' });
      expect(JSON.stringify(served.lines)).not.to.contain(wrong.slice(6));
    });

    it('reads the body of a request with the right credentials', async () => {
      const answer = await served.post('{"x', { path: '/alerts', headers: right });
      expect(answer).to.deep.include({ status: 400 });
      expect(answer.body.code).to.equal('invalid_action');
    });
  });
});

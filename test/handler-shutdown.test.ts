import { expect } from 'chai';
import { useFakeTimers } from 'sinon';
import type { Deadline } from '../src/clock.ts';
import { FailoverError } from '../src/errors.ts';
import { cordon, ServedHandler } from './fixtures/served-handler.ts';

describe('createHandler', () => {
  const served = ServedHandler.forSuite();

  describe('at shutdown', () => {
    it('shortens the deadlines of running requests, and waits for their answers', async () => {
      const deadlines: Deadline[] = [];
      const arrived = Promise.withResolvers<void>();
      const finish = Promise.withResolvers<never>();
      served.use({
        connect: async (_name, deadline) => {
          deadlines.push(deadline);
          if (deadlines.length === 2) arrived.resolve();
          return finish.promise;
        },
      });
      const answers = Promise.all([served.post(cordon), served.post({ ...cordon, id: 'incident-8' })]);
      await arrived.promise;
      expect(deadlines.every((deadline) => deadline.leftMs() > 7000)).to.equal(true);
      let isDown = false;
      const down = served.handler.shutDown().then(() => (isDown = true));
      expect(deadlines.every((deadline) => deadline.leftMs() <= 7000)).to.equal(true);
      await new Promise(setImmediate);
      expect(isDown).to.equal(false);
      finish.reject(new FailoverError('upstream_timeout', 'stopped'));
      expect((await answers).map(({ status }) => status)).to.deep.equal([504, 504]);
      await down;
    });

    it('also waits for a request that arrives after the shutdown began, and gives it the rest of the same seconds', async () => {
      const time = useFakeTimers({ toFake: ['Date', 'performance'], now: 1000 });
      try {
        const deadlines: Deadline[] = [];
        const arrivals = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
        const finish = [Promise.withResolvers<never>(), Promise.withResolvers<never>()];
        served.use({
          connect: async (_name, deadline) => {
            const index = deadlines.push(deadline) - 1;
            arrivals[index]?.resolve();
            return finish[index]?.promise ?? Promise.reject(new Error('a third one'));
          },
        });
        const first = served.post(cordon);
        await arrivals[0]?.promise;
        let isDown = false;
        const down = served.handler.shutDown().then(() => (isDown = true));
        time.tick(3000);
        const second = served.post({ ...cordon, id: 'incident-8' });
        await arrivals[1]?.promise;
        expect(deadlines[1]?.leftMs()).to.equal(4000);
        finish[0]?.reject(new FailoverError('upstream_timeout', 'stopped'));
        expect((await first).status).to.equal(504);
        await new Promise(setImmediate);
        expect(isDown).to.equal(false);
        finish[1]?.reject(new FailoverError('upstream_timeout', 'stopped'));
        expect((await second).status).to.equal(504);
        await down;
      } finally {
        time.restore();
      }
    });

    it('ends at once when no request is running', async () => {
      await served.handler.shutDown();
    });
  });
});

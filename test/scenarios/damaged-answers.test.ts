import { expect } from 'chai';
import fc from 'fast-check';
import { UpstreamError } from '../../src/errors.ts';
import { guardAnswers, parseObject } from '../../src/gke/kubernetes-error.ts';
import { listAll } from '../../src/gke/list.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';
import { damagedAnswers, runDamaged } from '../simulation/damaged-answers.ts';
import type { DamagedAnswers } from '../simulation/damaged-answers.ts';

const runs = Number(process.env['DAMAGED_RUNS'] ?? 100);
const seed = Number(process.env['DAMAGED_SEED'] ?? Date.now() % 2_147_483_647);
/** Runs this one alone. */
const line = process.env['DAMAGED'];

describe('damaged answers of the APIs', () => {
  it(`are nobody's internal error, and no other pool is written, in ${runs} runs (DAMAGED_SEED=${seed})`, async function () {
    this.timeout(0);
    if (line !== undefined) {
      throw new Error(`found: ${(await runDamaged(JSON.parse(line) as DamagedAnswers)).join('\n')}`);
    }
    await fc.assert(
      fc.asyncProperty(damagedAnswers, async (drawn) => {
        const wrong = await runDamaged(drawn);
        if (wrong.length > 0) throw new Error(`DAMAGED='${JSON.stringify(drawn)}'\n${wrong.join('\n')}`);
      }),
      { numRuns: runs, seed, endOnFailure: false },
    );
  });

  // F-435: the next write of the lock took its holder away, and the machine was deleted without it.
  for (const field of ['holderIdentity', 'renewTime', 'leaseDurationSeconds']) {
    it(`do not cost the lock where the answer to its write lacks ${field}`, async () => {
      const world = new VirtualFailover();
      const instance = world.newInstance(
        0,
        () => 'none',
        ({ method, path }, answer) => {
          if (method === 'GET' || !/leases(\/pool-slice-a)?$/.test(path)) return answer;
          const lease = JSON.parse(answer.body) as {
            metadata: { name: string };
            spec: Record<string, unknown>;
          };
          if (lease.metadata.name === 'pool-slice-a') delete lease.spec[field];
          return { ...answer, body: JSON.stringify(lease) };
        },
      );
      const body = { id: 'a', type: 'repair_nodepool', node_pool: 'slice-a' };
      const { code, error } = await world.send(body, instance);
      expect({ code, error }).to.deep.include({ code: 'upstream_failed' });
      expect(error).to.match(/another Lease than the one sent/);
      expect(world.emulator.fleet.deletions).to.deep.equal([]);
      await world.pass(120);
      expect(await world.send(body)).to.include({ status: 200 });
      expect(world.emulator.fleet.deletions).to.have.length(1);
    });
  }

  // F-367: the generated client threw a TypeError, and the answer was 500 internal.
  it('are the upstream’s failure where the generated client cannot read them', async () => {
    const api = guardAnswers({
      name: 'x',
      async read(given: unknown): Promise<unknown[]> {
        return [...(given as unknown[])];
      },
    });
    expect(api.name).to.equal('x');
    expect(await api.read([1])).to.deep.equal([1]);
    const refused = await refusalOf(api.read(7));
    expect(refused).to.be.instanceOf(UpstreamError).and.to.include({ code: 'upstream_failed' });
  });

  it('are the upstream’s failure where a list has a hole', async () => {
    const parse = (body: string) => parseObject({ status: 200, headers: {}, body }, () => 'GET x');
    for (const body of [
      '{"kind":"NodeList","items":[null]}',
      '{"kind":"Node","status":{"conditions":[{}, null]}}',
    ]) {
      expect(() => parse(body)).to.throw(UpstreamError, /not a Kubernetes object/);
    }
    const text = '{"kind":"Node","metadata":{"annotations":{"a":"[null]"}},"spec":null}';
    expect(parse(text)).to.deep.equal(JSON.parse(text));
    const page = async () => ({
      kind: 'NodeList',
      items: [{ metadata: undefined as unknown as { name: string } }],
    });
    const refused = await refusalOf(listAll(page, ({ metadata }) => metadata.name));
    expect(refused).to.be.instanceOf(UpstreamError);
  });
});

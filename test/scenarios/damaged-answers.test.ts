import { expect } from 'chai';
import fc from 'fast-check';
import { UpstreamError } from '../../src/errors.ts';
import { guardAnswers, parseObject } from '../../src/gke/kubernetes-error.ts';
import { listAll } from '../../src/gke/list.ts';
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

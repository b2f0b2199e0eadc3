import { expect } from 'chai';
import fc from 'fast-check';
import { parseJsonText } from '../../src/request/json-text.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';

const parse = async (text: string): Promise<unknown> => parseJsonText(text);

describe('parseJsonText', () => {
  for (const { text, where } of [
    { text: '{"id":"a-1",}', where: 'at position 12 (line 1, column 13)' },
    { text: "{'id':'a-1'}", where: 'at position 1 (line 1, column 2)' },
    { text: '{"id":"a"}{"id":"b"}', where: 'at position 10 (line 1, column 11)' },
    { text: 'cordon pool-a', where: 'at position 0 (line 1, column 1)' },
    { text: '{"id":NaN}', where: 'at position 6 (line 1, column 7)' },
    { text: '{"a":1\n,"b":tru}', where: 'at position 15 (line 2, column 9)' },
    { text: '{"a":-}', where: 'at position 6 (line 1, column 7)' },
    { text: '{"a":1.}', where: 'at position 7 (line 1, column 8)' },
    { text: '{"a":1e}', where: 'at position 7 (line 1, column 8)' },
    { text: '{"a":"x\ny"}', where: 'at position 7 (line 1, column 8)' },
    { text: String.raw`{"a":"\x"}`, where: 'at position 7 (line 1, column 8)' },
    { text: '{"a" 1}', where: 'at position 5 (line 1, column 6)' },
    { text: '{"a":1\r\n "b":2}', where: 'at position 9 (line 2, column 2)' },
    { text: `{"a":"${'x'.repeat(5000)}","b":tru3}`, where: 'at position 5015 (line 1, column 5016)' },
    { text: '{"id":"a-1","type":"cordon_', where: 'it ends too early' },
    { text: '[1,2', where: 'it ends too early' },
    { text: 'tru', where: 'it ends too early' },
    { text: '-', where: 'it ends too early' },
  ]) {
    it(`says where ${JSON.stringify(text).slice(0, 40)} stops being JSON`, async () => {
      expect(await refusalOf(parse(text))).to.include({
        code: 'invalid_action',
        message: `the body is not JSON: ${where}`,
      });
    });
  }

  it('finds a character that was put into any JSON, or something before it that became wrong', async () => {
    const property = fc.asyncProperty(fc.jsonValue(), fc.nat(), async (value, seed) => {
      const json = JSON.stringify(value);
      const at = seed % (json.length + 1);
      const text = `${json.slice(0, at)}\u0001${json.slice(at)}`;
      const { message } = await refusalOf(parse(text));
      expect(message).to.match(new RegExp(`^the body is not JSON: at position ${at} `));
    });
    await fc.assert(property, { numRuns: 500 });
  });

  it('says that any JSON object that is cut ends too early', async () => {
    const property = fc.asyncProperty(fc.jsonValue(), fc.nat(), async (value, seed) => {
      const json = JSON.stringify({ value });
      const { message } = await refusalOf(parse(json.slice(0, 1 + (seed % (json.length - 1)))));
      expect(message).to.equal('the body is not JSON: it ends too early');
    });
    await fc.assert(property, { numRuns: 500 });
  });
});

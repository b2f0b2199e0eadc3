import { expect } from 'chai';
import * as v from 'valibot';
import { parseStored, version, versionKey } from '../../src/state/stored.ts';

const schema = v.object({ count: v.number() });

describe('parseStored', () => {
  it('parses an annotation, and drops fields that the schema does not know', () => {
    expect(parseStored(schema, { a: '{"count":1,"other":2}' }, 'a')).to.deep.equal({ value: { count: 1 } });
  });

  it('tells an absent annotation from a broken one', () => {
    expect(parseStored(schema, {}, 'a')).to.equal(undefined);
    for (const text of ['', '{"count":', 'null', '[]', '{"count":"1"}', '{}']) {
      expect(parseStored(schema, { a: text }, 'a'), text).to.equal('broken');
    }
  });

  it('reads its own version and older ones, and takes those of a newer version for broken', () => {
    const stored = (written?: string) =>
      parseStored(schema, { a: '{"count":1}', ...(written ? { [versionKey]: written } : {}) }, 'a');
    for (const written of [undefined, '1', version]) {
      expect(stored(written), written).to.deep.equal({ value: { count: 1 } });
    }
    expect(stored(String(Number(version) + 1))).to.equal('broken');
  });
});

import { expect } from 'chai';
import { parseInParts } from '../../src/gke/list-text.ts';

const nodes = [
  { metadata: { name: 'a', annotations: { note: '},{"metadata":{"name":"x"}}]' } } },
  { metadata: { name: 'b' }, status: { images: [{ names: [']'] }, { names: [] }] } },
  { metadata: { name: 'c' } },
];
const frame = { kind: 'NodeList', apiVersion: 'v1', metadata: { continue: 'more', resourceVersion: '7' } };

const same = <Item>(item: Item): Item => item;

describe('parseInParts', () => {
  it('gives what JSON.parse gives', () => {
    for (const items of [nodes, nodes.slice(2), []]) {
      const text = JSON.stringify({ ...frame, items });
      expect(parseInParts(text, same), text).to.deep.equal({ ...frame, items });
    }
  });

  it('reduces an item before it parses the next', () => {
    const text = JSON.stringify({ ...frame, items: nodes }).replace(/\}\]\}$/, 'x}]}');
    const names: string[] = [];
    const reduce = (node: unknown) => names.push((node as (typeof nodes)[number]).metadata.name);
    expect(parseInParts(text, reduce)).to.equal(undefined);
    expect(names).to.deep.equal(['a', 'b']);
  });

  it('leaves a text to be parsed as a whole where it cannot tell the items apart', () => {
    const held = {
      metadata: { name: 'd' },
      holds: [{ metadata: { name: 'e' } }, { metadata: { name: 'f' } }],
    };
    const texts = [
      JSON.stringify({ ...frame, items: [...nodes, held] }),
      JSON.stringify({ ...frame, items: [nodes[0], { kind: 'Node', ...nodes[1] }] }),
      JSON.stringify({ ...frame, items: nodes, last: [] }),
      JSON.stringify({ ...frame, items: nodes }, undefined, 2),
    ];
    for (const text of texts) expect(parseInParts(text, same), text).to.equal(undefined);
  });

  it('takes no part of a list for a list', () => {
    const text = JSON.stringify({ ...frame, items: nodes });
    for (let end = 0; end < text.length; end++) {
      expect(parseInParts(text.slice(0, end), same), text.slice(0, end)).to.equal(undefined);
    }
    expect(parseInParts(`{"kind":"NodeList","items":[${'x'.repeat(30)}]}`, same)).to.equal(undefined);
    for (const other of ['["items",[]]', '{"abc":[1]}', '']) {
      expect(parseInParts(other, same), other).to.equal(undefined);
    }
  });

  it('does not take the fault of the reducer for that of the text', () => {
    const fail = () => {
      throw new TypeError('reduce');
    };
    expect(() => parseInParts(JSON.stringify({ ...frame, items: nodes }), fail)).to.throw('reduce');
  });
});

import { expect } from 'chai';
import { pruneProtos } from '../../deploy/build-protos.ts';
import type { ProtoCall } from '../../deploy/build-protos.ts';

const string = { type: 'string', id: 1 };

/** A package with a service of two methods, types around them, and some that nobody reaches. */
const protos = {
  nested: {
    shop: {
      nested: {
        v1: {
          options: { go_package: 'shop' },
          nested: {
            Shop: {
              options: { '(google.api.default_host)': 'shop.example' },
              methods: {
                Buy: { requestType: 'BuyRequest', responseType: 'Order' },
                Close: { requestType: 'CloseRequest', responseType: '.shop.v1.Order' },
              },
            },
            BuyRequest: { fields: { what: string, size: { type: 'Size', id: 2 } } },
            CloseRequest: { fields: {} },
            Size: { values: { SMALL: 0, LARGE: 1 } },
            Order: {
              oneofs: { _note: { oneof: ['note'] }, paid: { oneof: ['cash', 'card'] } },
              fields: {
                name: string,
                note: { type: 'string', id: 2 },
                cash: { type: 'int64', id: 3 },
                card: { type: 'Card', id: 4 },
                parts: { keyType: 'string', type: 'Part', id: 5 },
              },
              nested: {
                Part: {
                  fields: { number: string, size: { type: 'Size', id: 2 }, of: { type: 'Order', id: 3 } },
                },
                Unused: { fields: {} },
              },
            },
            Card: { fields: { bank: { type: '.shop.common.Bank', id: 1 } } },
            Unused: { fields: { card: { type: 'Card', id: 1 } } },
          },
        },
        common: { nested: { Bank: { fields: { name: string } } } },
      },
    },
  },
};

describe('pruneProtos', () => {
  it('keeps a method with the messages and enums that it reaches', () => {
    const v1 = protos.nested.shop.nested.v1.nested;
    const { Unused: _, ...parts } = v1.Order.nested;
    expect(pruneProtos(protos, [{ method: 'shop.v1.Shop.Buy' }])).to.deep.equal({
      nested: {
        shop: {
          nested: {
            v1: {
              nested: {
                Shop: { options: v1.Shop.options, methods: { Buy: v1.Shop.methods.Buy } },
                BuyRequest: v1.BuyRequest,
                Size: v1.Size,
                Order: { ...v1.Order, nested: parts },
                Card: v1.Card,
              },
            },
            common: protos.nested.shop.nested.common,
          },
        },
      },
    });
  });

  it('keeps only the fields of an answer that are read, and all fields of a request', () => {
    const answer = ['name', 'note', 'parts.number'];
    const v1 = protos.nested.shop.nested.v1.nested;
    const { Order, BuyRequest, ...others } = pruned([{ method: 'shop.v1.Shop.Buy', answer }]);
    expect(BuyRequest).to.deep.equal(v1.BuyRequest);
    expect(Order).to.deep.equal({
      oneofs: { _note: { oneof: ['note'] } },
      fields: { name: v1.Order.fields.name, note: v1.Order.fields.note, parts: v1.Order.fields.parts },
      nested: { Part: { fields: { number: string } } },
    });
    expect(others).to.have.all.keys('Shop', 'Size');
  });

  it('keeps several methods, and all that any of them reads', () => {
    const calls = [
      { method: 'shop.v1.Shop.Buy', answer: ['name'] },
      { method: 'shop.v1.Shop.Close', answer: ['card.bank'] },
    ];
    const { Shop, Order, Card } = pruned(calls);
    expect(Shop?.methods).to.have.all.keys('Buy', 'Close');
    expect(Order?.fields).to.have.all.keys('name', 'card');
    expect(Card?.fields).to.have.all.keys('bank');
  });

  const mistakes = [
    { method: 'shop.v1.Shop.Sell', message: 'the protos have no method shop.v1.Shop.Sell' },
    { method: 'shop.v2.Shop.Buy', message: 'the protos have no method shop.v2.Shop.Buy' },
    { method: 'shop.v1.Shop.Buy', answer: ['price'], message: 'shop.v1.Order has no field price' },
    { method: 'shop.v1.Shop.Buy', answer: ['parts.price'], message: 'shop.v1.Order.Part has no field price' },
  ];
  for (const { message, ...call } of mistakes) {
    it(`fails the build where ${message}`, () => {
      expect(() => pruneProtos(protos, [call])).to.throw(Error, message);
    });
  }
});

type Kept = Record<string, { methods?: object; fields?: object } | undefined>;

function pruned(calls: ProtoCall[]): Kept {
  const { nested } = pruneProtos(protos, calls) as { nested: { shop: { nested: { v1: { nested: Kept } } } } };
  return nested.shop.nested.v1.nested;
}

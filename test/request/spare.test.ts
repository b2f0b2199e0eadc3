import { expect } from 'chai';
import { readConfig } from '../../src/config.ts';
import { hashAction, parseAction } from '../../src/request/action.ts';
import type { Action } from '../../src/request/action.ts';
import { fromRecordedAction, toRecordedAction } from '../../src/state/recorded-action.ts';
import { refusalLine } from '../fixtures/refusal-of.ts';
import { trainCluster } from '../fixtures/train-world.ts';
import { restartOfTrain } from '../fixtures/verdicts.ts';

const { clusters } = readConfig({ CLUSTERS: trainCluster });

function parse(body: object): Action {
  return parseAction({ requestor: 'r', reason: 'r', ...restartOfTrain, ...body }, clusters, 'generated');
}

const condition = { preflight_checks: { spare_capacity: true } };

describe('the fields spare_capacity and when_no_spare', () => {
  it('say nothing by default, with the hash of earlier versions', () => {
    const plain = parse({});
    expect(plain).not.to.have.any.keys('requiresSpare', 'whenNoSpare');
    for (const same of [{ when_no_spare: 'restart' }, { when_no_spare: null }, { when_no_spare: '' }]) {
      expect(parse(same)).to.deep.equal(plain);
    }
    expect(parse({ preflight_checks: { spare_capacity: false } })).to.deep.equal(plain);
    expect(hashAction(plain)).to.equal('d164a1180c03ad08abcb0b56259133f3');
  });

  it('are kept, part of what the id stands for, and come back from the record', () => {
    const rows = [
      { body: condition, kept: { requiresSpare: true } },
      { body: { when_no_spare: 'refuse' }, kept: { whenNoSpare: 'refuse' } },
      { body: { when_no_spare: 'repair' }, kept: { whenNoSpare: 'repair' } },
      {
        body: { ...condition, when_no_spare: 'refuse' },
        kept: { requiresSpare: true, whenNoSpare: 'refuse' },
      },
    ];
    const hashes = new Set([hashAction(parse({}))]);
    for (const { body, kept } of rows) {
      const action = parse(body);
      expect(action).to.include(kept);
      hashes.add(hashAction(action));
      const stored = JSON.parse(JSON.stringify(toRecordedAction(action)));
      expect(fromRecordedAction(stored, action, action.cluster)).to.include(kept);
    }
    expect(hashes.size).to.equal(rows.length + 1);
  });

  it('are refused where they mean nothing', () => {
    const rows: [object, string][] = [
      [
        { when_no_spare: 'repiar' },
        'unknown when_no_spare: repiar, did you mean repair?; known: restart, refuse, repair',
      ],
      [{ when_no_spare: true }, 'when_no_spare must be a string'],
      [
        { preflight_checks: { spare_capacity: 'true' } },
        'preflight_checks.spare_capacity must be true or false, without quotes',
      ],
      [
        { preflight_checks: { spare_capacty: true } },
        'unknown field "preflight_checks.spare_capacty", did you mean "preflight_checks.spare_capacity"?',
      ],
      [{ when_no_spaer: 'repair' }, 'unknown field "when_no_spaer", did you mean "when_no_spare"?'],
      [
        { type: 'repair_nodepool', when_no_spare: 'repair' },
        'when_no_spare is for an action that restarts, and repair_nodepool does not',
      ],
      [
        { type: 'cordon_nodepool', ...condition },
        'preflight_checks.spare_capacity is for an action that restarts, and cordon_nodepool does not',
      ],
      [
        { ...condition, when_no_spare: 'repair' },
        'preflight_checks.spare_capacity refuses where there is no spare capacity, so when_no_spare repair would never be done: ' +
          'leave one of them out',
      ],
    ];
    for (const [body, text] of rows) {
      expect(refusalLine(() => parse(body))).to.equal(`invalid_action: ${text}`);
    }
  });
});

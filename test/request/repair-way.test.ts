import { expect } from 'chai';
import { readConfig } from '../../src/config.ts';
import { hashAction, parseAction } from '../../src/request/action.ts';
import type { Action } from '../../src/request/action.ts';
import { fromRecordedAction, toRecordedAction } from '../../src/state/recorded-action.ts';
import { refusalLine } from '../fixtures/refusal-of.ts';
import { trainCluster } from '../fixtures/train-world.ts';

const { clusters } = readConfig({ CLUSTERS: trainCluster });
const repair = { type: 'repair_nodepool', node_pool: 'gpu-a' };

function parse(body: object): Action {
  return parseAction({ requestor: 'r', reason: 'r', id: 'a', ...body }, clusters, 'generated');
}

describe('the field repair', () => {
  it('is a deletion where it is absent or says so, with the hash of earlier versions', () => {
    const plain = parse(repair);
    expect(plain).not.to.have.any.keys('repair', 'fault');
    expect(parse({ ...repair, repair: 'delete' })).to.deep.equal(plain);
    expect(hashAction(plain)).to.equal('9d39f8d025f5dd1cf4cd9ae3f60e8cee');
  });

  it('takes each way on both types that repair, and the fault of a report', () => {
    for (const type of ['repair_nodepool', 'cordon_and_repair_nodepool']) {
      for (const way of ['reboot', 'maintenance']) {
        expect(parse({ ...repair, type, repair: way }))
          .to.include({ repair: way })
          .and.not.have.property('fault');
      }
      for (const fault of ['performance', 'silent_data_corruption', 'xid', 'unspecified']) {
        const action = parse({ ...repair, type, repair: 'report_faulty_host', fault });
        expect(action).to.include({ repair: 'report_faulty_host', fault });
      }
    }
  });

  it('is a part of what an id stands for, and of the record', () => {
    const report = { ...repair, repair: 'report_faulty_host', fault: 'xid' };
    const bodies = [repair, { ...repair, repair: 'reboot' }, report, { ...report, fault: 'performance' }];
    expect(new Set(bodies.map((body) => hashAction(parse(body)))).size).to.equal(4);
    const action = parse(report);
    const stored = JSON.parse(JSON.stringify(toRecordedAction(action))) as ReturnType<
      typeof toRecordedAction
    >;
    const record = { id: 'a', type: action.type, requestor: 'r', reason: 'r' };
    expect(fromRecordedAction(stored, record, action.cluster)).to.include({
      repair: 'report_faulty_host',
      fault: 'xid',
    });
  });

  const wrong: [object, string][] = [
    [
      { ...repair, repair: 'report_faulty_hosts', fault: 'xid' },
      'unknown repair: report_faulty_hosts, did you mean report_faulty_host?; known: delete, reboot, maintenance, report_faulty_host',
    ],
    [
      { ...repair, repair: 'report_faulty_host', fault: 'XID' },
      'unknown fault: XID, did you mean xid?; known: performance, silent_data_corruption, xid, unspecified',
    ],
    [
      { ...repair, repair: 'report_faulty_host' },
      'fault is required for repair report_faulty_host, one of performance, silent_data_corruption, xid, unspecified; it tells ' +
        'Google what to look for',
    ],
    [
      { ...repair, fault: 'xid' },
      'fault says what is wrong with a host that is reported: add repair report_faulty_host, or leave fault out of a delete',
    ],
    [
      { ...repair, repair: 'reboot', fault: 'xid' },
      'fault says what is wrong with a host that is reported: add repair report_faulty_host, or leave fault out of a reboot',
    ],
    [
      { type: 'cordon_nodepool', node_pool: 'gpu-a', repair: 'reboot' },
      'repair is for an action that repairs, and cordon_nodepool does not: send repair_nodepool or cordon_and_repair_nodepool',
    ],
    [
      { type: 'uncordon_nodepool', node_pool: 'gpu-a', fault: 'xid' },
      'fault is for an action that repairs, and uncordon_nodepool does not: send repair_nodepool or cordon_and_repair_nodepool',
    ],
  ];
  for (const [body, message] of wrong) {
    it(`refuses ${JSON.stringify(body)}`, () =>
      expect(refusalLine(() => parse(body))).to.equal(`invalid_action: ${message}`));
  }
});

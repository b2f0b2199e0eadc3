import { expect } from 'chai';
import { parsePolicyLabels } from '../../src/alert/policy-labels.ts';
import { resolveCluster } from '../../src/cluster-name.ts';
import { readConfig } from '../../src/config.ts';
import { effectsOf } from '../../src/action-type.ts';
import { hashAction, parseAction } from '../../src/request/action.ts';
import type { Action } from '../../src/request/action.ts';
import { fromRecordedAction, toRecordedAction } from '../../src/state/recorded-action.ts';
import { refusalLine } from '../fixtures/refusal-of.ts';
import { trainCluster } from '../fixtures/train-world.ts';

const { clusters } = readConfig({ CLUSTERS: trainCluster });
const restart = {
  id: 'a',
  requestor: 'test',
  reason: 'a test',
  type: 'cordon_nodepool_and_restart_jobset',
  jobset_name: 'train',
};

function parse(more: object): Action {
  return parseAction({ ...restart, ...more }, clusters, 'generated');
}

describe('restart_grace_seconds of a request', () => {
  for (const seconds of [0, 1, 30, 3600]) {
    it(`is ${seconds}`, () => {
      expect(parse({ restart_grace_seconds: seconds }).restartGraceSeconds).to.equal(seconds);
    });
  }

  it('may be absent or null', () => {
    expect(parse({})).not.to.have.property('restartGraceSeconds');
    expect(parse({ restart_grace_seconds: null })).not.to.have.property('restartGraceSeconds');
  });

  for (const wrong of [-1, 3601, 0.5, '0', '', 'soon', true, [0]]) {
    it(`is refused as ${JSON.stringify(wrong)}`, () => {
      expect(refusalLine(() => parse({ restart_grace_seconds: wrong }))).to.equal(
        'invalid_action: restart_grace_seconds must be a whole number of seconds from 0 to 3600, without quotes',
      );
    });
  }

  for (const type of [
    'cordon_nodepool',
    'cordon_and_repair_nodepool',
    'repair_nodepool',
    'uncordon_nodepool',
  ]) {
    it(`is refused for ${type}`, () => {
      const action = { type, node_pool: 'slice-a', jobset_name: undefined, restart_grace_seconds: 0 };
      expect(refusalLine(() => parse(action))).to.equal(
        `invalid_action: restart_grace_seconds is for an action that restarts, and ${type} does not`,
      );
    });
  }

  it('tells two actions of one id apart, and leaves the hash of others as it was', () => {
    const hashes = [{}, { restart_grace_seconds: 0 }, { restart_grace_seconds: 1 }].map((more) =>
      hashAction(parse(more)),
    );
    expect(new Set(hashes).size).to.equal(3);
    expect(hashAction(parse({ restart_grace_seconds: null }))).to.equal(hashes[0]);
  });

  it('is recorded, so that reconcile carries it on; a record of an earlier version has none', () => {
    const stored = toRecordedAction(parse({ restart_grace_seconds: 0 }));
    const cluster = resolveCluster(undefined, clusters);
    const names = { id: 'a', requestor: 'test', reason: 'a test', type: restart.type };
    expect(fromRecordedAction(stored, names, cluster)).to.include({ restartGraceSeconds: 0 });
    const { restartGraceSeconds: _, ...earlier } = stored;
    const before = fromRecordedAction(earlier, names, cluster);
    expect(before?.effects).to.deep.equal(effectsOf.cordon_nodepool_and_restart_jobset);
    expect(before?.restartGraceSeconds).to.equal(undefined);
  });
});

describe('the label failover_restart_grace_seconds', () => {
  const read = (value?: string) =>
    parsePolicyLabels(value === undefined ? {} : { failover_restart_grace_seconds: value })
      .restartGraceSeconds;

  it('is a number of seconds, or absent', () => {
    expect(['0', '30', '3600', undefined].map(read)).to.deep.equal([0, 30, 3600, undefined]);
  });

  for (const wrong of ['-1', '3601', '0.5', '5s', '1e3', '٣']) {
    it(`is refused as ${wrong}`, () => {
      expect(refusalLine(() => read(wrong))).to.equal(
        'invalid_action: label failover_restart_grace_seconds of the alert policy must be a whole number of seconds from 0 to 3600',
      );
    });
  }
});

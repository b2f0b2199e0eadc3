import { expect } from 'chai';
import * as fc from 'fast-check';
import { actionTypes, effectsOf } from '../../src/action-type.ts';
import { hashAction, parseAction, readId } from '../../src/request/action.ts';
import { nearestName } from '../../src/nearest-name.ts';
import { resolveCluster } from '../../src/cluster-name.ts';
import type { Action } from '../../src/request/action.ts';
import type { ClusterName } from '../../src/cluster-name.ts';
import { FailoverError } from '../../src/errors.ts';
import { refusal } from '../fixtures/refusal-of.ts';

const train = toClusterName('ml-prod', 'us-central1', 'train');
const serve = toClusterName('ml-prod', 'us-east5-b', 'serve');
const trainElsewhere = toClusterName('ml-dev', 'us-central1', 'train');

const cordon = {
  requestor: 'alice@example.com',
  reason: 'HBM errors',
  type: 'cordon_nodepool',
  node_pool: 'pool-a',
};
const restart = {
  requestor: 'alice@example.com',
  reason: 'HBM errors',
  type: 'cordon_nodepool_and_restart_jobset',
  jobset_name: 'llm',
};

describe('parseAction', () => {
  it('takes every field', () => {
    const action = parse({
      id: 'Incident_0.n5-1',
      dry_run: true,
      requestor: 'alice@example.com',
      reason: 'HBM errors',
      type: 'cordon_nodepool_and_restart_jobset',
      namespace: 'research',
      jobset_name: 'llm',
      node_pool: 'pool-a',
      node_name: 'gke-tpu-3f2a9c1d-00bc.c.ml-prod.internal',
      preflight_checks: { expected_node_counts: true },
      on_failure: 'repair_nodepool',
      uncordon_when_repaired: true,
      restart_grace_seconds: 0,
      cluster: 'projects/ml-prod/locations/us-central1/clusters/train',
    });
    expect(action).to.deep.equal({
      id: 'Incident_0.n5-1',
      isIdGenerated: false,
      dryRun: true,
      requestor: 'alice@example.com',
      reason: 'HBM errors',
      type: 'cordon_nodepool_and_restart_jobset',
      effects: { cordon: true, restart: true, repair: false, uncordon: false },
      namespace: 'research',
      jobSetName: 'llm',
      nodePool: 'pool-a',
      nodeName: 'gke-tpu-3f2a9c1d-00bc.c.ml-prod.internal',
      expectedNodeCounts: true,
      cluster: train,
      onFailure: 'repair_nodepool',
      uncordonWhenRepaired: true,
      restartGraceSeconds: 0,
    });
  });

  it('fills in what is absent', () => {
    expect(parse(cordon)).to.deep.equal({
      id: 'generated',
      isIdGenerated: true,
      dryRun: false,
      requestor: 'alice@example.com',
      reason: 'HBM errors',
      type: 'cordon_nodepool',
      effects: { cordon: true, restart: false, repair: false, uncordon: false },
      namespace: 'default',
      jobSetName: undefined,
      nodePool: 'pool-a',
      nodeName: undefined,
      expectedNodeCounts: false,
      cluster: train,
    });
  });

  // Existing clients send "node_pool": null.
  for (const field of [
    'id',
    'dry_run',
    'namespace',
    'node_pool',
    'node_name',
    'preflight_checks',
    'cluster',
  ]) {
    it(`takes null for ${field} as absent`, () => {
      expect(parse({ ...restart, [field]: null })).to.deep.equal(parse(restart));
    });
  }

  for (const field of ['id', 'namespace', 'node_pool', 'node_name', 'cluster']) {
    it(`takes "" for ${field} as absent`, () => {
      expect(parse({ ...restart, [field]: '' })).to.deep.equal(parse(restart));
    });
  }

  it('takes null for a preflight check as absent', () => {
    expect(
      parse({ ...cordon, preflight_checks: { expected_node_counts: null } }).expectedNodeCounts,
    ).to.equal(false);
    expect(parse({ ...cordon, preflight_checks: {} }).expectedNodeCounts).to.equal(false);
  });

  // F-1: a misspelt dry run, or `"true"` as a string, ran live.
  for (const { name, field, text } of [
    {
      name: 'a misspelt dry_run',
      field: { dryRun: true },
      text: 'unknown field "dryRun", did you mean "dry_run"?',
    },
    {
      name: 'a dry-run',
      field: { 'dry-run': true },
      text: 'unknown field "dry-run", did you mean "dry_run"?',
    },
    { name: 'a DRY_RUN', field: { DRY_RUN: true }, text: 'unknown field "DRY_RUN", did you mean "dry_run"?' },
    { name: 'a dryrn', field: { dryrn: true }, text: 'unknown field "dryrn", did you mean "dry_run"?' },
    {
      name: 'a quoted boolean',
      field: { dry_run: 'true' },
      text: 'dry_run must be true or false, without quotes',
    },
    {
      name: 'an empty boolean',
      field: { dry_run: '' },
      text: 'dry_run must be true or false, without quotes',
    },
    {
      name: 'a numeric boolean',
      field: { dry_run: 1 },
      text: 'dry_run must be true or false, without quotes',
    },
    {
      name: 'a boolean in a list',
      field: { dry_run: [true] },
      text: 'dry_run must be true or false, without quotes',
    },
  ]) {
    it(`refuses ${name}, which must never run live`, () => {
      expect(refusedWith({ ...cordon, ...field })).to.deep.equal({ code: 'invalid_action', message: text });
    });
  }

  // The texts of the earlier controller (docs/failures.md says which that is). Callers may look for them.
  for (const { name, body, text } of [
    { name: 'nothing', body: {}, text: 'requestor is required' },
    { name: 'an empty requestor', body: { ...cordon, requestor: '' }, text: 'requestor is required' },
    { name: 'a null requestor', body: { ...cordon, requestor: null }, text: 'requestor is required' },
    { name: 'no reason', body: { ...cordon, reason: undefined }, text: 'reason is required' },
    { name: 'an empty reason', body: { ...cordon, reason: '' }, text: 'reason is required' },
    {
      name: 'an unknown type',
      body: { ...cordon, type: 'reboot' },
      text: `unknown action type: reboot; known: ${actionTypes.join(', ')}`,
    },
    {
      name: 'a type in capitals',
      body: { ...cordon, type: 'Cordon_Nodepool' },
      text: `unknown action type: Cordon_Nodepool, did you mean cordon_nodepool?; known: ${actionTypes.join(', ')}`,
    },
    {
      name: 'a restart without a JobSet',
      body: { ...cordon, type: 'cordon_nodepool_and_restart_jobset' },
      text: 'jobset_name is required for cordon_nodepool_and_restart_jobset action',
    },
    {
      name: 'a restart of the JobSet ""',
      body: { ...restart, jobset_name: '' },
      text: 'jobset_name is required for cordon_nodepool_and_restart_jobset action',
    },
    ...actionTypes
      .filter((type) => type !== 'cordon_nodepool_and_restart_jobset')
      .flatMap((type) => [
        {
          name: `${type} of nothing`,
          body: { ...cordon, type, node_pool: undefined },
          text: `node_pool or node_name is required for ${type} action`,
        },
        {
          // F-4: an empty pool name, `*` or a list became a selector that matched every node.
          name: `${type} of the pool "" and the node null`,
          body: { ...cordon, type, node_pool: '', node_name: null },
          text: `node_pool or node_name is required for ${type} action`,
        },
      ]),
  ]) {
    it(`answers ${name} with the earlier controller's text`, () => {
      expect(refusedWith(body)).to.deep.equal({ code: 'invalid_action', message: text });
    });
  }

  it('lists the types when none is given', () => {
    expect(refusedWith({ ...cordon, type: undefined }).message).to.equal(
      `type is required, one of ${actionTypes.join(', ')}`,
    );
  });

  it('needs neither pool nor node for a restart, because the function finds where the JobSet runs', () => {
    expect(parse(restart)).to.include({ nodePool: undefined, nodeName: undefined, jobSetName: 'llm' });
  });

  for (const type of actionTypes) {
    it(`takes ${type} with a node_name alone`, () => {
      expect(
        parse({ ...cordon, type, jobset_name: 'llm', node_pool: undefined, node_name: 'gke-a-7' }),
      ).to.include({
        type,
        nodeName: 'gke-a-7',
      });
    });
  }

  // F-4: an empty pool name, `*` or a list became a selector that matched every node.
  for (const pool of [
    '*',
    'pool-a,pool-b',
    'pool-a, pool-b',
    'Pool-A',
    'pool_a',
    ' pool-a',
    'pool-a\n',
    '-pool',
    'pool-',
    'a'.repeat(64),
  ]) {
    it(`refuses the pool name ${JSON.stringify(pool).slice(0, 30)}`, () => {
      const { code, message } = refusedWith({ ...cordon, node_pool: pool });
      expect(code).to.equal('invalid_action');
      const isCapital = pool === 'Pool-A';
      expect(message).to.equal(
        `node_pool must be the name of one node pool${isCapital ? ', in lower case' : ''}`,
      );
    });
  }

  for (const { field, longest, tooLong, sentence } of [
    {
      field: 'id',
      longest: 'x'.repeat(128),
      tooLong: 'x'.repeat(129),
      sentence: 'must have 1 to 128 characters of A-Z a-z 0-9 . _ -',
    },
    {
      field: 'namespace',
      longest: 'x'.repeat(63),
      tooLong: 'x'.repeat(64),
      sentence: 'must be the name of a Kubernetes namespace',
    },
    {
      field: 'jobset_name',
      longest: 'x'.repeat(63),
      tooLong: 'x'.repeat(64),
      sentence: 'must be the name of a JobSet',
    },
    {
      field: 'node_pool',
      longest: 'x'.repeat(63),
      tooLong: 'x'.repeat(64),
      sentence: 'must be the name of one node pool',
    },
    {
      field: 'node_name',
      longest: 'x'.repeat(253),
      tooLong: 'x'.repeat(254),
      sentence: 'must be the name of one Kubernetes node',
    },
  ]) {
    it(`takes a ${field} of ${longest.length} characters and refuses one of ${tooLong.length}`, () => {
      expect(() => parse({ ...restart, [field]: longest })).not.to.throw();
      expect(refusedWith({ ...restart, [field]: tooLong })).to.deep.equal({
        code: 'invalid_action',
        message: `${field} ${sentence}`,
      });
    });
  }

  for (const id of ['a b', 'a/b', 'a\n', 'ä', '{}', ' ']) {
    it(`refuses the id ${JSON.stringify(id)}`, () => {
      expect(refusedWith({ ...cordon, id }).message).to.match(/^id must have/);
    });
  }

  for (const [field, value] of [
    ['node_name', 'gke..a'],
    ['node_name', 'GKE-A'],
    ['node_name', 'gke-a,gke-b'],
    ['node_name', '*'],
    ['namespace', 'kube.system'],
    ['namespace', '*'],
    ['jobset_name', 'a.b'],
    ['jobset_name', '../default'],
    ['cluster', 'train; rm -rf'],
    ['cluster', 'Train'],
  ] as const) {
    it(`refuses the ${field} ${JSON.stringify(value)}`, () => {
      const { code, message } = refusedWith({ ...restart, [field]: value });
      expect(code).to.equal('invalid_action');
      expect(message).to.match(new RegExp(`^${field} must be`));
    });
  }

  for (const field of ['requestor', 'reason']) {
    for (const [name, character] of [
      ['a line feed', '\n'],
      ['a NUL', '\u0000'],
      ['an escape', '\u001b'],
      ['a DEL', '\u007f'],
      ['a C1 control', '\u0085'],
      ['a line separator', '\u2028'],
    ] as const) {
      it(`flattens ${name} in ${field}, which would forge a line of a log`, () => {
        expect(parse({ ...cordon, [field]: `a${character}b` })).to.include({ [field]: 'a b' });
      });
    }
  }

  it('takes text of any language in reason and requestor', () => {
    expect(parse({ ...cordon, reason: '切换 «überhitzt» 🔥', requestor: 'Åsa' })).to.include({
      reason: '切换 «überhitzt» 🔥',
      requestor: 'Åsa',
    });
  });

  for (const field of [
    'id',
    'requestor',
    'reason',
    'type',
    'namespace',
    'jobset_name',
    'node_pool',
    'node_name',
    'cluster',
  ]) {
    for (const value of [1, true, {}, ['pool-a']]) {
      it(`refuses ${JSON.stringify(value)} for ${field}`, () => {
        expect(refusedWith({ ...restart, [field]: value })).to.deep.equal({
          code: 'invalid_action',
          message: `${field} must be a string`,
        });
      });
    }
  }

  for (const body of [null, undefined, [], [cordon], 'cordon_nodepool', 1, true]) {
    it(`refuses the body ${JSON.stringify(body)?.slice(0, 20)}, which is no object`, () => {
      expect(refusedWith(body)).to.deep.equal({
        code: 'invalid_action',
        message: 'the body must be a JSON object',
      });
    });
  }

  // A preflight check is a safety: "" is no more absent here than for a boolean.
  for (const value of ['', 'expected_node_counts', [], ['expected_node_counts'], true]) {
    it(`refuses ${JSON.stringify(value)} for preflight_checks`, () => {
      expect(refusedWith({ ...cordon, preflight_checks: value })).to.deep.equal({
        code: 'invalid_action',
        message: 'preflight_checks must be an object',
      });
    });
  }

  for (const { name, field, text } of [
    {
      name: 'a misspelt preflight check',
      field: { preflight_checks: { expected_node_count: true } },
      text: 'unknown field "preflight_checks.expected_node_count", did you mean "preflight_checks.expected_node_counts"?',
    },
    {
      name: 'an unknown preflight check',
      field: { preflight_checks: { disk: true } },
      text: 'unknown field "preflight_checks.disk"; known fields: preflight_checks.expected_node_counts, preflight_checks.spare_capacity',
    },
    {
      name: 'a quoted preflight check',
      field: { preflight_checks: { expected_node_counts: 'true' } },
      text: 'preflight_checks.expected_node_counts must be true or false, without quotes',
    },
    {
      name: 'nodepool',
      field: { nodepool: 'a' },
      text: 'unknown field "nodepool", did you mean "node_pool"?',
    },
    {
      name: 'nodeName',
      field: { nodeName: 'a' },
      text: 'unknown field "nodeName", did you mean "node_name"?',
    },
    { name: 'jobset', field: { jobset: 'a' }, text: 'unknown field "jobset", did you mean "jobset_name"?' },
    {
      name: 'requester',
      field: { requester: 'a' },
      text: 'unknown field "requester", did you mean "requestor"?',
    },
    {
      name: 'a field like no other',
      field: { 'a long and winding field': 1 },
      text:
        'unknown field "a long and winding field"; known fields: id, dry_run, requestor, reason, type, namespace, ' +
        'jobset_name, node_pool, node_name, preflight_checks, on_failure, uncordon_when_repaired, accept, restart_grace_seconds, when_no_spare, repair, approval, fault, cluster',
    },
    {
      name: 'an unknown field that is null',
      field: { dryRun: null },
      text: 'unknown field "dryRun", did you mean "dry_run"?',
    },
  ]) {
    it(`refuses ${name}, with its name and what it may have meant`, () => {
      expect(refusedWith({ ...cordon, ...field })).to.deep.equal({ code: 'invalid_action', message: text });
    });
  }

  for (const key of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
    it(`refuses the key ${key} like any other unknown field`, () => {
      const body = JSON.parse(`{"${key}": {"dry_run": true}, ${JSON.stringify(cordon).slice(1)}`) as unknown;
      expect(refusedWith(body).message).to.contain(`unknown field "${key}"`);
      const nested = {
        ...cordon,
        preflight_checks: JSON.parse(`{"${key}": {"expected_node_counts": true}}`) as unknown,
      };
      expect(refusedWith(nested).message).to.contain(`unknown field "preflight_checks.${key}"`);
    });
  }

  it('shows only the start of a long unknown name', () => {
    const { message } = refusedWith({ ...cordon, ['z'.repeat(100_000)]: 1 });
    expect(message)
      .to.contain(`"${'z'.repeat(64)}"`)
      .and.to.have.lengthOf.below(400);
  });

  describe('with fast-check', () => {
    const known = [
      'id',
      'dry_run',
      'requestor',
      'reason',
      'type',
      'namespace',
      'jobset_name',
      'node_pool',
      'node_name',
      'preflight_checks',
      'cluster',
    ];
    const codes = ['invalid_action', 'forbidden', 'target_not_found'];
    const value = fc.oneof(
      fc.constantFrom(null, '', true, false, 'true', ...actionTypes, 'pool-a', 'train', train.fullName),
      fc.constantFrom({}, { expected_node_counts: true }, { expected_node_counts: '' }),
      fc.jsonValue(),
      fc.string({ unit: 'binary' }),
    );
    const mostly = (...usual: unknown[]) =>
      fc.oneof({ arbitrary: fc.constantFrom(...usual), weight: 12 }, { arbitrary: value, weight: 1 });
    const likely = fc.record(
      {
        id: mostly(null, '', 'id-1'),
        dry_run: mostly(null, true, false),
        requestor: mostly('alice'),
        reason: mostly('HBM errors'),
        type: mostly(...actionTypes),
        namespace: mostly(null, 'research'),
        jobset_name: mostly('llm'),
        node_pool: mostly('pool-a', null),
        node_name: mostly('gke-a-7', ''),
        preflight_checks: mostly(null, {}, { expected_node_counts: true }),
        cluster: mostly('train', train.fullName, null),
      },
      { requiredKeys: ['requestor', 'reason', 'type'] },
    );

    it('throws only a refusal, and otherwise returns a valid action', () => {
      let accepted = 0;
      fc.assert(
        fc.property(
          fc.oneof(likely, fc.jsonValue(), fc.object()),
          fc.constantFrom<ClusterName[]>([train], [train, serve], [train, trainElsewhere, serve]),
          (body, clusters) => {
            let action: Action;
            try {
              action = parseAction(body, clusters, 'generated');
            } catch (error) {
              expect(error).to.be.instanceOf(FailoverError);
              const { code, message } = error as FailoverError;
              expect(codes).to.include(code);
              expect(message).to.have.lengthOf.above(0).and.to.have.lengthOf.below(1000);
              return;
            }
            accepted++;
            expect(actionTypes).to.include(action.type);
            expect(clusters).to.include(action.cluster);
            expect(action.id).to.match(/^[A-Za-z0-9._-]{1,128}$/);
            expect(action.requestor).to.match(/^[^\n\0]{1,256}$/u);
            expect(action.reason).to.match(/^[^\n\0]{1,1024}$/u);
            expect(Object.keys(body as object).filter((key) => !known.includes(key))).to.deep.equal([]);
            expect(action.dryRun).to.equal((body as { dry_run?: unknown }).dry_run === true);
            if (action.type === 'cordon_nodepool_and_restart_jobset') {
              expect(action.jobSetName).to.be.a('string');
            } else expect(action.nodePool ?? action.nodeName).to.be.a('string');
          },
        ),
        { numRuns: 1500 },
      );
      expect(accepted, 'bodies that were accepted').to.be.above(50);
    });

    it('never returns an action from a body with an unknown key', () => {
      fc.assert(
        fc.property(
          fc.string().filter((key) => !known.includes(key)),
          fc.jsonValue(),
          (key, value) => {
            const body = Object.defineProperty({ ...cordon }, key, { value, enumerable: true });
            expect(refusedWith(body).code).to.equal('invalid_action');
            const checks = Object.defineProperty({}, key, { value, enumerable: true });
            if (key !== 'expected_node_counts') {
              expect(refusedWith({ ...cordon, preflight_checks: checks }).code).to.equal('invalid_action');
            }
          },
        ),
        { numRuns: 300 },
      );
    });
  });
});

describe('readId', () => {
  for (const { name, raw, id } of [
    { name: 'of a whole body', raw: '{"id": "a.b_C-1", "type": "x"}', id: 'a.b_C-1' },
    {
      name: 'of a body that is cut',
      raw: '{"type":"cordon_nodepool","id" :\n"incident-7","rea',
      id: 'incident-7',
    },
    { name: 'of a body with a trailing comma', raw: '{"id":"x",}', id: 'x' },
    { name: 'of 128 characters', raw: `{"id":"${'x'.repeat(128)}"`, id: 'x'.repeat(128) },
    { name: 'at the end of what is looked through', raw: `${' '.repeat(65_536 - 8)}"id":"x"`, id: 'x' },
  ]) {
    it(`finds the id ${name}`, () => {
      expect(readId(raw)).to.equal(id);
    });
  }

  for (const { name, raw } of [
    { name: 'nothing', raw: '' },
    { name: 'an id that breaks the rules', raw: '{"id":"a b"}' },
    { name: 'an id of 129 characters', raw: `{"id":"${'x'.repeat(129)}"}` },
    { name: 'an empty id', raw: '{"id":""}' },
    { name: 'an id that is no string', raw: '{"id":17}' },
    { name: 'an id in a text', raw: String.raw`{"reason":"\"id\":\"forged\""}` },
    { name: 'an id further back than a body may have', raw: `${' '.repeat(65_536)}"id":"x"` },
  ]) {
    it(`makes an id for ${name}`, () => {
      expect(readId(raw)).to.match(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    });
  }

  it('makes another id each time', () => {
    expect(readId('')).not.to.equal(readId(''));
  });

  it('always returns an id within the rules, whatever was sent', () => {
    const piece = fc.oneof(
      fc.constantFrom('"id"', ':', '"', '\\', '{', 'id', ' ', '"id":"x', '\u0000'),
      fc.string({ unit: 'binary' }),
    );
    fc.assert(
      fc.property(fc.array(piece), (pieces) => {
        expect(readId(pieces.join(''))).to.match(/^[A-Za-z0-9._-]{1,128}$/);
      }),
      { numRuns: 500 },
    );
  });
});

describe('resolveCluster', () => {
  it('takes the only configured cluster when none is named', () => {
    expect(resolveCluster(undefined, [train])).to.equal(train);
  });

  // F-33: two clusters are configured and none is named: refused, never the first.
  it('refuses to choose among several clusters when none is named', () => {
    const { code, message } = refusal(() => resolveCluster(undefined, [train, serve]));
    expect({ code, message }).to.deep.equal({
      code: 'invalid_action',
      message: `cluster is required because several are configured: ${train.fullName}, ${serve.fullName}`,
    });
  });

  it('takes a full name, and a bare one that only one cluster has', () => {
    const clusters = [train, trainElsewhere, serve];
    expect(resolveCluster(trainElsewhere.fullName, clusters)).to.equal(trainElsewhere);
    expect(resolveCluster('serve', clusters)).to.equal(serve);
  });

  it('refuses a bare name that two clusters have, naming both', () => {
    const { code, message } = refusal(() => resolveCluster('train', [train, serve, trainElsewhere]));
    expect(code).to.equal('invalid_action');
    expect(message).to.equal(`cluster train is ambiguous: ${train.fullName}, ${trainElsewhere.fullName}`);
  });

  it('refuses a full name that is not configured, even if only the location differs', () => {
    for (const given of [
      trainElsewhere.fullName,
      'projects/ml-prod/locations/us-central1-a/clusters/train',
      `${train.fullName}/`,
    ]) {
      const { code, message } = refusal(() => resolveCluster(given, [train, serve]));
      expect({ code, message }).to.deep.equal({
        code: 'forbidden',
        message: `cluster ${given} is not one of the configured clusters (CLUSTERS): ${train.fullName}, ${serve.fullName}`,
      });
    }
  });

  it('refuses a bare name that no cluster has', () => {
    expect(refusal(() => resolveCluster('other', [train])).code).to.equal('target_not_found');
  });
});

describe('hashAction', () => {
  const action = parse({ ...restart, node_pool: 'pool-a' });

  it('is the same for another wording, because a redelivery may have one', () => {
    const reworded = { ...action, id: 'other', requestor: 'bob', reason: 'other words', dryRun: true };
    expect(hashAction(reworded)).to.equal(hashAction(action));
  });

  const differences: Partial<Action>[] = [
    { type: 'cordon_nodepool' },
    { namespace: 'research' },
    { jobSetName: 'other' },
    { nodePool: 'pool-b' },
    { nodePool: undefined },
    { nodePool: undefined, nodeName: 'pool-a' },
    { nodeName: 'gke-a-7' },
    { expectedNodeCounts: true },
    { cluster: serve },
  ];
  for (const difference of differences) {
    it(`differs with ${JSON.stringify(difference)}`, () => {
      expect(hashAction({ ...action, ...difference })).not.to.equal(hashAction(action));
    });
  }
});

describe('effectsOf', () => {
  for (const [type, effects] of [
    ['cordon_nodepool', 'cordon'],
    ['cordon_nodepool_and_restart_jobset', 'cordon restart'],
    ['cordon_and_repair_nodepool', 'cordon repair'],
    ['repair_nodepool', 'repair'],
    ['uncordon_nodepool', 'uncordon'],
  ] as const) {
    it(`of ${type} is ${effects}`, () => {
      const had = Object.entries(effectsOf[type]).flatMap(([effect, has]) => (has ? effect : []));
      expect(had.join(' ')).to.equal(effects);
    });
  }
});

describe('nearestName', () => {
  it('finds a name by its letters, whatever its case and separators', () => {
    expect(nearestName('Node-Pool', ['node_name', 'node_pool'])).to.equal('node_pool');
  });

  it('finds none when all are far', () => {
    expect(nearestName('completely', ['node_name', 'node_pool'])).to.equal(undefined);
    expect(nearestName('x', [])).to.equal(undefined);
  });
});

function parse(body: unknown): Action {
  return parseAction(body, [train], 'generated');
}

function refusedWith(body: unknown): { code: string; message: string } {
  const { code, message } = refusal(() => parse(body));
  return { code, message };
}

function toClusterName(projectId: string, location: string, name: string): ClusterName {
  return {
    fullName: `projects/${projectId}/locations/${location}/clusters/${name}`,
    projectId,
    location,
    name,
  };
}

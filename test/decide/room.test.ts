import { expect } from 'chai';
import { describeShortage, surveyNode } from '../../src/decide/room.ts';
import type { JobGroup, NodeSurvey } from '../../src/decide/room.ts';
import { listNodeRooms } from '../../src/gke/node-room.ts';
import { nodePoolLabel } from '../../src/gke/nodes.ts';
import { toPodNeeds } from '../../src/gke/pod-needs.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';

const tpu = 'google.com/tpu';

/** Jobs with so many pods each, which ask for the same. */
function group(podCounts: number[], needs: object = { requests: { [tpu]: 4 } }, name = 'j'): JobGroup {
  const jobs = podCounts.map((podCount, index) => ({ name: `${name}${index}`, podCount }));
  return { needs: { ...toPodNeeds({}), ...needs }, jobs } as unknown as JobGroup;
}

/** A node with 4 chips. */
function survey(answers: NodeSurvey['answers'], domain?: string): NodeSurvey {
  const domains = answers.map(() => domain);
  return { name: 'n', nodePool: 'pool', sliceSize: undefined, answers, domains, devices: { [tpu]: 4 } };
}

describe('surveyNode', () => {
  it('has no answer for pods that name another node', async () => {
    const { kubernetes } = createInMemoryWorld();
    const [node] = await listNodeRooms(kubernetes, `${nodePoolLabel}=slice-a`, (room) => room);
    if (!node) throw new Error('no node');
    const tolerations = [{ operator: 'Exists' }];
    const groups = ['another', node.name, undefined].map((nodeName) =>
      group([1], { requests: { [tpu]: 4 }, tolerations, nodeName }),
    );
    expect(surveyNode(node, groups, kubernetes.serverNow()).answers).to.deep.equal([undefined, 1, 1]);
  });
});

describe('describeShortage', () => {
  it('tells of three groups of Jobs, and how many more there are', () => {
    const groups = ['a', 'b', 'c', 'd'].map((name) => group([1], undefined, name));
    const none = (name: string) => `no uncordoned node outside the pool matches the pods of Job ${name}0`;
    const three = `${none('a')}; ${none('b')}; ${none('c')}`;
    expect(describeShortage(groups.slice(0, 3), [])).to.equal(three);
    expect(describeShortage(groups, [])).to.equal(`${three}; and 1 more such Jobs`);
  });

  it('finds the largest domain for an exclusive placement, wherever it is in the list', () => {
    const jobs = [group([2], { requests: { [tpu]: 4 }, exclusiveTopology: 'rack' })];
    const surveys = [survey([1], 'small'), survey([2], 'large'), survey([1], 'other')];
    expect(describeShortage(jobs, surveys)).to.equal(undefined);
    expect(describeShortage(jobs, surveys.toReversed())).to.equal(undefined);
    expect(describeShortage(jobs, surveys.slice(0, 1))).to.match(/^outside the pool, 0 of 1 Jobs would find/);
  });

  it('adds up the devices that all groups ask for, of nodes that could take who asks for them', () => {
    const groups = [
      group([1]),
      group([1], { requests: { [tpu]: 4 } }, 'k'),
      group([1], { requests: {} }, 'l'),
    ];
    const refusing = survey(['tainted', 'tainted', 'tainted']);
    const onlyForOthers = survey(['tainted', 'tainted', 1]);
    expect(describeShortage(groups, [survey([1, 1, 1]), refusing, onlyForOthers])).to.equal(
      `the Jobs ask for 8 ${tpu}, and the nodes outside the pool that could take them have 4`,
    );
    expect(describeShortage(groups, [survey([1, undefined, 1]), survey([undefined, 1, 1])])).to.equal(
      undefined,
    );
  });
});

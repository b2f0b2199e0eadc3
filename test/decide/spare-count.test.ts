import { expect } from 'chai';
import type { JobGroup, NodeSurvey } from '../../src/decide/room.ts';
import { countSpare } from '../../src/decide/spare.ts';
import type { StayingPod } from '../../src/gke/staying-pods.ts';
import { toPodNeeds } from '../../src/gke/pod-needs.ts';

const device = { requests: { 'google.com/tpu': 4 } };
const exclusive = { exclusiveTopology: 'cloud.google.com/gke-nodepool' };

/** Jobs with so many pods each, which ask for the same. */
function group(podCounts: number[], needs: object = device): JobGroup {
  const jobs = podCounts.map((podCount, index) => ({ name: `j${index}`, podCount }));
  return { needs: { ...toPodNeeds({}), ...needs }, jobs } as unknown as JobGroup;
}

/** Nodes of a slice, with what each has room for; or an independent node. */
function slice(
  nodePool: string,
  rooms: (number | string | undefined)[],
  sliceSize: number | undefined = rooms.length,
) {
  return rooms.map((answer, index) => ({
    name: `${nodePool}-${index}`,
    nodePool,
    sliceSize,
    domains: [nodePool],
    answers: [answer],
  })) as unknown as NodeSurvey[];
}

function single(name: string, room: number | string | undefined): NodeSurvey {
  return {
    name,
    nodePool: 'pool',
    sliceSize: undefined,
    domains: [undefined],
    answers: [room],
  } as unknown as NodeSurvey;
}

const on = (nodeName: string, isOfJobSet = false) =>
  ({ nodeName, isOfJobSet, what: `pod of ${nodeName}` }) satisfies StayingPod;

function count(groups: JobGroup[], surveys: NodeSurvey[], pods: StayingPod[] = [], usualSize = 2) {
  const { spare, lack } = countSpare(groups, surveys, pods, usualSize);
  return [spare.slices, spare.needed, lack];
}

describe('countSpare', () => {
  it('counts whole slices that are free, and how many the Jobs need', () => {
    const surveys = [...slice('b', [1, 1]), ...slice('c', [1, 1]), ...slice('d', [1, 1])];
    expect(count([group([2, 2])], surveys)).to.deep.equal([3, 2, undefined]);
    expect(count([group([3])], surveys)).to.deep.equal([3, 2, undefined]);
    expect(count([group([2, 2])], slice('b', [1, 1]))).to.deep.equal([
      1,
      2,
      'outside the pool, 1 of 2 whole slices that the Jobs need are free',
    ]);
  });

  it('takes a slice for free only if it is whole, and no node of it has a pod that stays', () => {
    expect(count([group([2])], slice('b', [1, 'cordoned']))).to.deep.include.members([0, 2]);
    expect(count([group([2])], slice('b', [1], 2))[0]).to.equal(0);
    expect(count([group([2])], slice('b', [1, 1]), [on('b-1')])).to.deep.equal([
      0,
      1,
      'outside the pool, 0 of 1 whole slices that the Jobs need are free (b has pod of b-1)',
    ]);
    expect(count([group([2])], slice('b', [1, undefined], 2))[0]).to.equal(0);
  });

  it('counts independent nodes one by one', () => {
    const nodes = [
      single('n0', 1),
      single('n1', 1),
      single('n2', 0),
      single('n3', 'tainted'),
      single('n4', undefined),
    ];
    expect(count([group([2])], nodes, [], 1)).to.deep.equal([2, 2, undefined]);
    expect(count([group([3])], nodes, [], 1)).to.deep.equal([
      2,
      3,
      'outside the pool, 2 of 3 nodes that the Jobs need are free',
    ]);
    expect(count([group([2])], nodes, [on('n1')], 1)[2]).to.match(/ 1 of 2 nodes .* \(n1 has pod of n1\)$/);
    // A node that the pods do not match is in nobody's way.
    expect(count([group([2])], [single('n0', 1), single('n4', undefined)], [on('n4')], 1)[2]).to.match(
      / 1 of 2 nodes that the Jobs need are free$/,
    );
    expect(count([group([5])], [single('n0', 3), single('n1', 1), single('n2', 3)], [], 1)).to.deep.equal([
      3,
      2,
      undefined,
    ]);
  });

  it('needs the usual size of a slice where no unit would do', () => {
    expect(count([group([4])], [], [], 2)).to.deep.equal([
      0,
      2,
      'outside the pool, 0 of 2 whole slices that the Jobs need are free',
    ]);
    expect(count([group([4])], [], [], 1)[2]).to.match(/0 of 4 nodes/);
    expect(count([group([4])], slice('b', [2, 2]), [on('b-0')], 2)).to.deep.include.members([0, 1]);
  });

  it('names three units with what is in the way, and how many more', () => {
    const nodes = ['a', 'b', 'c', 'd', 'e'].map((name) => single(name, 1));
    const pods = nodes.map(({ name }) => on(name));
    expect(count([group([1])], nodes, pods.slice(0, 3), 1)[2]).to.equal(undefined);
    expect(count([group([3])], nodes, pods.slice(0, 3), 1)[2]).to.match(
      /\(a has pod of a, b has pod of b, c has pod of c\)$/,
    );
    expect(count([group([1])], nodes, pods, 1)[2]).to.match(/, c has pod of c, and 2 more\)$/);
  });

  it('asks for devices first: a launcher fits beside others', () => {
    const surveys = [...slice('b', [1, 1])].map((survey) => ({
      ...survey,
      answers: [1, 1],
      domains: ['b', 'b'],
    }));
    expect(count([group([2]), group([1], {})], surveys)).to.deep.equal([1, 1, undefined]);
    expect(count([group([2], {})], slice('b', [1, 1]))).to.deep.equal([1, 1, undefined]);
    const both = [group([2]), group([2], { ...exclusive, requests: {} })];
    expect(count(both, surveys)).to.deep.include.members([1, 2]);
  });

  describe('for an exclusive placement', () => {
    const jobs = (podCounts: number[]) => [group(podCounts, { ...device, ...exclusive })];

    it('gives each Job a domain of its own, the smallest that will do', () => {
      const surveys = [...slice('b', [1, 1, 1, 1]), ...slice('c', [1, 1])];
      expect(count(jobs([2, 4]), surveys)).to.deep.equal([2, 2, undefined]);
      expect(count(jobs([4, 2]), surveys)).to.deep.equal([2, 2, undefined]);
      expect(count(jobs([4, 4]), surveys)).to.deep.include.members([1, 2]);
      // Two kinds of Jobs, and the first one leaves the larger domain to the other.
      for (const order of [surveys, surveys.toReversed()]) {
        const seenByBoth = order.map((survey) => ({
          ...survey,
          answers: [1, 1],
          domains: [survey.nodePool, survey.nodePool],
        }));
        expect(count([...jobs([2]), ...jobs([4])], seenByBoth)).to.deep.equal([2, 2, undefined]);
      }
      expect(count(jobs([4]), slice('c', [1, 1]), [], 1)[2]).to.match(/0 of 1 whole slices/);
    });

    it('keeps out of a domain with a pod of the JobSet, or whose nodes have no such label', () => {
      const nodes = [single('n0', 2), single('n1', 2)].map((node) => ({
        ...node,
        domains: ['rack'],
      })) as NodeSurvey[];
      expect(count(jobs([4]), nodes)).to.deep.equal([1, 1, undefined]);
      expect(count(jobs([4]), nodes, [on('n0', true)])[0]).to.equal(0);
      expect(count(jobs([2]), nodes, [on('n0', true)])[0]).to.equal(0);
      expect(count(jobs([2]), nodes, [on('n0'), on('n0', true)])[0]).to.equal(0);
      expect(count(jobs([2]), nodes, [on('n0')])).to.deep.equal([1, 1, undefined]);
      expect(count(jobs([2]), [single('n0', 2)])[0]).to.equal(0);
    });
  });

  it('takes a domain of several slices for free only if each slice is whole', () => {
    const inOneRack = [...slice('b', [1, 1]), ...slice('c', [1], 6)].map((node) => ({
      ...node,
      domains: ['rack'],
    }));
    const exclusively = group([2], { ...device, ...exclusive });
    expect(count([exclusively], inOneRack)[0]).to.equal(0);
    expect(count([exclusively], inOneRack.slice(0, 2))[0]).to.equal(1);
  });

  it('speaks of slices where any of the Jobs has an exclusive placement', () => {
    const both = [group([2], { ...device, ...exclusive }), group([2])];
    expect(count(both, [], [], 1)[2]).to.match(/ whole slices that the Jobs need are free$/);
    expect(count(both.toReversed(), [], [], 1)[2]).to.match(/ whole slices that the Jobs need are free$/);
  });

  it('lets the group choose first that has fewest units to choose from', () => {
    const survey = (name: string, answers: (number | undefined)[]) => ({
      ...single(name, 0),
      answers,
      domains: [name, name],
    });
    const surveys = [survey('n0', [1, 1]), survey('n1', [1, undefined])] as unknown as NodeSurvey[];
    expect(count([group([1]), group([1])], surveys, [], 1)).to.deep.equal([2, 2, undefined]);
    const other = [survey('n0', [1, 1]), survey('n1', [undefined, 1])] as unknown as NodeSurvey[];
    expect(count([group([1]), group([1])], other, [], 1)).to.deep.equal([2, 2, undefined]);
    // What is not free is no choice.
    const full = [survey('n2', [0, undefined]), survey('n3', [0, undefined])] as unknown as NodeSurvey[];
    expect(count([group([1]), group([1])], [...other, ...full], [], 1)).to.deep.equal([2, 2, undefined]);
  });
});

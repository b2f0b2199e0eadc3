import { expect } from 'chai';
import type { Stage } from './conformance-target.ts';
import { eventually } from './eventually.ts';
import type { Condition, KubernetesList, Node, Pod } from './kubernetes-client.ts';
import { chipsPerNode, poolLabel } from './world.ts';
import type { World } from './world.ts';

const podsPath = '/api/v1/namespaces/default/pods';
const nodesPath = '/api/v1/nodes';

/** What a pod says that finds no node, and when a pod and a node say that something changed. */
export function describeScheduling(stage: () => Stage): void {
  let world: World;
  let runs = 0;
  const made: string[] = [];
  const createPod = async (spec: object, details: object = {}): Promise<string> => {
    const { metadata } = await stage().client.post<Pod>(podsPath, {
      metadata: { name: `scheduling-${(runs += 1)}`, ...details },
      spec: {
        containers: [
          { name: 'main', image: 'main', resources: { limits: { 'google.com/tpu': String(chipsPerNode) } } },
        ],
        ...spec,
      },
    });
    const path = `${podsPath}/${metadata.name}`;
    made.push(path);
    return path;
  };
  const read = (path: string): Promise<Pod> => stage().client.get<Pod>(path);
  const conditionOf = ({ status }: Pod | Node, type: string): Condition | undefined =>
    status.conditions?.find((each) => each.type === type);
  const becomesReady = (path: string): Promise<Pod> =>
    eventually(
      'the pod runs',
      async () => {
        const pod = await read(path);
        return conditionOf(pod, 'Ready')?.status === 'True' && pod;
      },
      { advance: stage().advance },
    );
  /** Waits for the scheduler to say exactly this, because it says something else while it does not know of a node yet. */
  const isRefused = async (path: string, expected: () => Promise<string>): Promise<Pod> => {
    let said = '';
    let wanted = '';
    return eventually(
      'the scheduler says why',
      async () => {
        const pod = await read(path);
        said = withoutClaims(conditionOf(pod, 'PodScheduled')?.message ?? '');
        wanted = withoutClaims(await expected());
        return said === wanted && pod;
      },
      { advance: stage().advance },
    ).catch((error: unknown) => {
      expect(said, String(error)).to.equal(wanted);
      throw error;
    });
  };

  describe('scheduling', function () {
    before(function () {
      if (!stage().can.runJobSets) this.skip();
      world = stage().createWorld();
    });
    afterEach(async () => {
      for (const path of made.splice(0)) {
        await stage().client.request('DELETE', path, { body: { gracePeriodSeconds: 0 } });
      }
      await world.removeAll();
    });

    it('says of a pod that fits nowhere why each node is none for it, in one condition of a Pending pod', async function () {
      if (await saysItInOlderWords(stage())) this.skip();
      const { client } = stage();
      const pool = 'scheduling';
      const [full = '', cordoned = '', tainted = '', poor = ''] = await world.addTpuSlice(pool, { nodes: 4 });
      await becomesReady(await createPod({ nodeName: full }));
      const patches: [node: string, path: string, body: object][] = [
        [cordoned, '', { spec: { unschedulable: true } }],
        [tainted, '', { spec: { taints: [{ key: 'team', value: 'others', effect: 'NoSchedule' }] } }],
        [poor, '/status', { status: { allocatable: { 'google.com/tpu': '0' } } }],
      ];
      for (const [node, path, body] of patches) await client.patch(`${nodesPath}/${node}${path}`, body);

      const path = await createPod({ nodeSelector: { [poolLabel]: pool } });
      const toExpected = async (
        lacking: number,
        unschedulable: number,
        contested: number,
      ): Promise<string> => {
        const others = await countOthers(stage(), [full, cordoned, tainted, poor]);
        return describeRefusal(
          {
            'Insufficient google.com/tpu': lacking,
            'node(s) had untolerated taint(s)': 1 + others.tainted,
            'node(s) were unschedulable': unschedulable + others.cordoned,
            "node(s) didn't match Pod's node affinity/selector": others.rest,
          },
          contested,
        );
      };
      const pod = await isRefused(path, () => toExpected(2, 1, 1));
      const twin = await createPod({ nodeSelector: { [poolLabel]: pool } });
      await isRefused(twin, async () => conditionOf(await read(path), 'PodScheduled')?.message ?? '');
      await client.delete(twin);
      expect(pod.status.phase).to.equal('Pending');
      expect(pod.status.conditions?.map(({ type }) => type)).to.deep.equal(['PodScheduled']);
      expect(conditionOf(pod, 'PodScheduled')).to.include({ status: 'False', reason: 'Unschedulable' });
      expect(pod.spec.nodeName).to.equal(undefined);
      expect(pod.status).not.to.have.property('containerStatuses');

      await client.patch(`${nodesPath}/${full}`, { spec: { unschedulable: true } });
      // Another reason is no transition.
      if ((await minorOf(stage())) <= 36) {
        const later = await isRefused(path, () => toExpected(1, 2, 0));
        expect(conditionOf(later, 'PodScheduled')?.lastTransitionTime).to.equal(
          conditionOf(pod, 'PodScheduled')?.lastTransitionTime,
        );
      } else {
        console.log('      not run in part: Kubernetes 1.37 does not look again when a node is cordoned');
      }

      await client.patch(`${nodesPath}/${cordoned}`, { spec: { unschedulable: null } });
      const running = await becomesReady(path);
      expect(running.spec.nodeName).to.equal(cordoned);
      expect(conditionOf(running, 'PodScheduled')).to.include({ status: 'True' });
      expect(conditionOf(running, 'PodScheduled')).not.to.have.any.keys('reason', 'message');
    });

    it('says that an exclusive Job of others is in the way, where there would be room', async function () {
      if (await saysItInOlderWords(stage())) this.skip();
      const pool = 'shared';
      const nodes = await world.addTpuSlice(pool, { nodes: 4 });
      await world.addJobSet({ name: 'shared-first', pool, parallelism: 2 });
      const { advance } = stage();
      await eventually('the first runs', async () => (await world.runningPods('shared-first')).length === 2, {
        advance,
      });
      await world.addJobSet({ name: 'shared-second', pool, parallelism: 2 });
      const [leader] = await eventually(
        'the second has a leader',
        async () => {
          const pods = await world.pods('shared-second');
          return pods.length > 0 && pods;
        },
        { advance },
      );
      await isRefused(`${podsPath}/${leader?.metadata.name}`, async () => {
        const others = await countOthers(stage(), nodes);
        return describeRefusal(
          {
            'Insufficient google.com/tpu': 2,
            "node(s) didn't match pod anti-affinity rules": 2,
            'node(s) had untolerated taint(s)': others.tainted,
            'node(s) were unschedulable': others.cordoned,
            "node(s) didn't match Pod's node affinity/selector": others.rest,
          },
          4,
        );
      });
    });

    it('says whose affinity is in the way: that of the pod, or that of pods that run', async function () {
      if (await saysItInOlderWords(stage())) this.skip();
      const pool = 'affine';
      const nodes = await world.addTpuSlice(pool, { nodes: 2 });
      const toTerms = (name: string): object => ({
        requiredDuringSchedulingIgnoredDuringExecution: [
          { labelSelector: { matchLabels: { name } }, topologyKey: poolLabel },
        ],
      });
      const containers = [{ name: 'main', image: 'main' }];
      const tolerations = [{ key: 'google.com/tpu', operator: 'Exists' }];
      const affine = { nodeSelector: { [poolLabel]: pool }, containers, tolerations };
      const shy = { podAntiAffinity: toTerms('loud') };
      await becomesReady(await createPod({ nodeName: nodes[0], containers, tolerations, affinity: shy }));
      const expectReason = async (path: string, reason: string, contested: number): Promise<void> => {
        await isRefused(path, async () => {
          const others = await countOthers(stage(), nodes);
          return describeRefusal(
            {
              [reason]: 2,
              'node(s) had untolerated taint(s)': others.tainted,
              'node(s) were unschedulable': others.cordoned,
              "node(s) didn't match Pod's node affinity/selector": others.rest,
            },
            contested,
          );
        });
      };
      const lonely = await createPod({ ...affine, affinity: { podAffinity: toTerms('nobody') } });
      await expectReason(lonely, "node(s) didn't match pod affinity rules", 0);
      const loud = await createPod(affine, { labels: { name: 'loud' } });
      await expectReason(loud, "node(s) didn't satisfy existing pods anti-affinity rules", 2);
    });

    it('says when a pod became Ready, when it no longer was, and when its containers ended', async () => {
      const { client, advance } = stage();
      const [node = ''] = await world.addTpuSlice('ready', { nodes: 1 });
      const finalizer = 'autometric-failover.test/hold';
      const path = await createPod({ nodeName: node }, { finalizers: [finalizer] });
      const running = await becomesReady(path);
      const readyAt = timeOf(conditionOf(running, 'Ready'));
      expect(readyAt).to.be.at.least(Date.parse(running.metadata.creationTimestamp ?? ''));
      // A later second, so that the times differ.
      await eventually('a second has passed', async () => (await serverTime(stage())) >= readyAt + 2000, {
        advance,
      });
      await client.delete(path);
      const ended = await eventually(
        'it has ended',
        async () => {
          const pod = await read(path);
          return pod.status.phase === 'Failed' && pod;
        },
        { advance },
      );
      expect(conditionOf(ended, 'Ready')?.status).to.equal('False');
      expect(timeOf(conditionOf(ended, 'Ready'))).to.be.greaterThan(readyAt);
      const [container] = ended.status.containerStatuses ?? [];
      expect(Date.parse(container?.state.terminated?.finishedAt ?? '')).to.be.greaterThan(readyAt);
      await client.patch(path, { metadata: { finalizers: null } });
    });

    it('says when a node became Ready: later if another machine took its name', async () => {
      const { client, advance } = stage();
      const [name = ''] = await world.addTpuSlice('replaced', { nodes: 1 });
      const readyAt = async (): Promise<number> => {
        const node = await client.get<Node>(`${nodesPath}/${name}`);
        expect(conditionOf(node, 'Ready')?.status).to.equal('True');
        return timeOf(conditionOf(node, 'Ready'));
      };
      const before = await readyAt();
      await eventually('a second has passed', async () => (await serverTime(stage())) >= before + 2000, {
        advance,
      });
      await world.killNode(name);
      await world.replaceInstance(name, { newNode: true });
      expect(await readyAt()).to.be.greaterThan(before);
    });
  });
}

/** Kubernetes 1.37 no longer tells of claims that nobody has made. */
function withoutClaims(message: string): string {
  return message.replace('no new claims to deallocate, ', '');
}

/** Kubernetes 1.33 tells each untolerated taint by itself, and nothing of claims. The emulator, which is held to this, speaks as 1.36 does. */
async function saysItInOlderWords(stage: Stage): Promise<boolean> {
  const minor = await minorOf(stage);
  const isOlder = minor < 36;
  if (isOlder) console.log(`      not run: the words are those of Kubernetes 1.36, and this is 1.${minor}`);
  return isOlder;
}

async function minorOf({ client }: Stage): Promise<number> {
  const { minor = '' } = await client.get<{ minor?: string }>('/version');
  return Number.parseInt(minor, 10);
}

/** What the scheduler finds of the nodes that belong to other tests. */
async function countOthers(
  { client }: Stage,
  own: string[],
): Promise<{ cordoned: number; tainted: number; rest: number }> {
  const { items } = await client.get<KubernetesList<Node>>(nodesPath);
  const others = (items ?? []).filter(({ metadata }) => !own.includes(metadata.name));
  const cordoned = others.filter(({ spec }) => spec.unschedulable === true);
  const tainted = others.filter(
    (node) =>
      !cordoned.includes(node) &&
      node.spec.taints?.some(({ key, effect }) => key !== 'google.com/tpu' && effect !== 'PreferNoSchedule'),
  );
  return {
    cordoned: cordoned.length,
    tainted: tainted.length,
    rest: others.length - cordoned.length - tainted.length,
  };
}

/** The text of kube-scheduler 1.36. On so many nodes, it looks in vain for pods to preempt. */
function describeRefusal(reasons: Record<string, number>, contested: number): string {
  const total = Object.values(reasons).reduce((sum, count) => sum + count, 0);
  const describe = (counts: Record<string, number>): string => {
    const list = Object.entries(counts).filter(([, count]) => count > 0);
    const texts = list.map(([reason, count]) => `${count} ${reason}`).sort();
    return `0/${total} nodes are available: ${texts.join(', ')}.`;
  };
  const preemption = {
    'No preemption victims found for incoming pod': contested,
    'Preemption is not helpful for scheduling': total - contested,
  };
  return `${describe(reasons)} no new claims to deallocate, preemption: ${describe(preemption)}`;
}

function timeOf(condition: Condition | undefined): number {
  return Date.parse(condition?.lastTransitionTime ?? '');
}

async function serverTime({ client }: Stage): Promise<number> {
  return Date.parse(String((await client.request('GET', '/version')).headers['date']));
}

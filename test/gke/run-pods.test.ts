import { expect } from 'chai';
import { listRunPods } from '../../src/gke/run-pods.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';

/** The trouble of a pod of which the scheduler says this. */
async function troubleOf(message: string): Promise<string> {
  const pod = {
    metadata: { name: 'p' },
    status: { phase: 'Pending', conditions: [{ type: 'PodScheduled', status: 'False', message }] },
  };
  const { kubernetes, emulator } = createInMemoryWorld();
  const body = JSON.stringify({ kind: 'PodList', items: [pod], metadata: {} });
  emulator.faults.add({ method: 'GET', path: /pods/, times: 1, effect: { status: 200, body } });
  const [found] = await listRunPods(kubernetes, 'default', 'train');
  return found?.trouble ?? '';
}

// F-231: the words of the scheduler were cut in the middle of a word, after half of them had said nothing of use.
describe("the scheduler's words in a verdict", () => {
  const reasons = '0/34 nodes are available: 30 Insufficient google.com/tpu, 4 node(s) were unschedulable';

  it('end before what it says of claims and of preemption', async () => {
    const tails = [
      '. no new claims to deallocate, preemption: 0/34 nodes are available: 34 Preemption is not helpful for scheduling.',
      '. preemption: 0/34 nodes are available: 34 No preemption victims found for incoming pods.',
      ', no new claims to deallocate.',
      '.',
      '',
    ];
    for (const tail of tails) expect(await troubleOf(reasons + tail)).to.equal(`Pending: ${reasons}`);
  });

  it('end after a reason if they are too long, and say so', async () => {
    const long = Array.from(
      { length: 20 },
      (_, index) => `${index + 1} node(s) had untolerated taint {k${index}: v}`,
    );
    const trouble = await troubleOf(`0/210 nodes are available: ${long.join(', ')}.`);
    expect(trouble).to.match(/\{k\d: v\} …$/);
    expect(trouble.length).to.be.within(250, 311);
  });

  it('end after a word where no reason ends', async () => {
    expect(await troubleOf('word '.repeat(100))).to.match(/^Pending: (word )+…$/);
    const wordy = await troubleOf('x'.repeat(1000));
    expect(wordy).to.equal(`Pending: ${'x'.repeat(300)} …`);
  });
});

import { expect } from 'chai';
import type { FunctionProcess } from '../fixtures/function-process.ts';
import type { FailoverRig } from './failover-rig.ts';
import type { InterruptingProxy } from './interrupting-proxy.ts';

/** How processes are started and what they are sent. */
export interface Killing {
  rig: FailoverRig;
  proxy: InterruptingProxy;
  /** A process whose writes can be held. */
  start: () => Promise<FunctionProcess>;
  startSurvivor: () => Promise<FunctionProcess>;
  /** Answers with the name of a JobSet that runs on slice-a. */
  runOnSliceA: () => Promise<string>;
  /** The action that restarts it. */
  restart: (name: string) => object;
}

/** A process was killed, and its lock has expired. */
export interface Killed {
  name: string;
  /** Another process. */
  other: FunctionProcess;
  /** The write that the victim did not get the answer to; `answered` if it had no more. */
  landedOn: string;
  isComplete: boolean;
}

/**
 * Kills a process after its first write, another one after its second, and so on until one gets to its end.
 *
 * @param check ends each round, and says what it was
 */
export async function killAtEachWrite(
  { rig, proxy, start, startSurvivor, runOnSliceA, restart }: Killing,
  check: (killed: Killed) => Promise<string | undefined>,
): Promise<void> {
  const landed: string[] = [];
  // The next one starts while a round goes on.
  let nextVictim = start();
  let isComplete = false;
  for (let write = 1; !isComplete; write += 1) {
    const name = await runOnSliceA();
    const [victim, other] = await Promise.all([nextVictim, startSurvivor()]);
    nextVictim = start();
    const held = proxy.holdWrite(write);
    const lost = victim.send(restart(name)).then(
      () => 'answered',
      () => 'killed',
    );
    const landedOn = await Promise.race([held, lost]);
    isComplete = landedOn === 'answered';
    await victim.kill();
    await lost;
    proxy.letThrough();
    await rig.expireLock('slice-a');
    const what = await check({ name, other, landedOn, isComplete });
    if (what !== undefined) landed.push(what);
    await rig.world.removeAll();
    await rig.forget();
  }
  console.log(
    `        killed after each of ${landed.length} writes:\n          ${landed.join('\n          ')}`,
  );
  await nextVictim;
  expect(landed.length).to.be.greaterThan(10);
}

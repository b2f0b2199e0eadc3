import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

/** What the bare client is asked. */
export type BareQuestion =
  { ask: 'patches'; concurrency: number } | { ask: 'calls-in-a-row'; count: number; path: string };

export interface BareAnswer {
  ms: number;
  /** How many calls that were. */
  count: number;
}

/**
 * An HTTP/2 client that does nothing but to send: the limit that the function is compared with. It runs in a process of its own, on the
 * machine and against the server of the function.
 */
export interface BareClient {
  /** Patches every node of slice-a, so many at a time, over a new connection. */
  patchAll(concurrency: number): Promise<BareAnswer>;
  /** Sends so many small calls, each after the answer to the one before, over a connection that is open. */
  callInARow(count: number): Promise<BareAnswer>;
  stop(): void;
}

/** A list of which the answer is empty. */
const smallCall = '/apis/coordination.k8s.io/v1/namespaces/default/leases?limit=1';

/** Starts the client, which ends with this process. @param environment what `EmulatorProcess.build` returned */
export async function startBareClient(environment: Record<string, string>): Promise<BareClient> {
  const child = fork(join(import.meta.dirname, 'bare-child.ts'), {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    env: { ...process.env, ...environment },
  });
  let ended: Error | undefined;
  let settle: { resolve: (answer: BareAnswer) => void; reject: (error: Error) => void } | undefined;
  child.on('message', (answer: BareAnswer) => settle?.resolve(answer));
  child.on('exit', (code) => {
    ended = new Error(`the bare client ended with ${code}; its output says why`);
    settle?.reject(ended);
  });
  await once(child, 'spawn');
  const ask = (question: BareQuestion): Promise<BareAnswer> =>
    new Promise((resolve, reject) => {
      if (ended) return reject(ended);
      settle = { resolve, reject };
      return child.send(question);
    });
  return {
    patchAll: (concurrency) => ask({ ask: 'patches', concurrency }),
    callInARow: (count) => ask({ ask: 'calls-in-a-row', count, path: smallCall }),
    stop: () => child.disconnect(),
  };
}

/** Chaos on a real control plane: a load on several lanes, faults and kills at random, then fair weather, and the judgement. */
import { writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { Emulator } from '../emulator/emulator.ts';
import { readConfig } from '../../src/config.ts';
import type { PromiseId } from '../simulation/promises.ts';
import { createRandom } from '../simulation/virtual-time.ts';
import type { ControlPlane } from './capabilities.ts';
import { serveChaosGoogle } from './chaos-google.ts';
import { History } from './chaos-history.ts';
import type { Entry } from './chaos-history.ts';
import { judge } from './chaos-judge.ts';
import type { Judgement } from './chaos-judge.ts';
import { buildLanes, nameLanes } from './chaos-lanes.ts';
import { ChaosLoad } from './chaos-load.ts';
import { createChaosMachines } from './chaos-machines.ts';
import { observe } from './chaos-observer.ts';
import { ChaosPeople } from './chaos-people.ts';
import { startChaosProcesses } from './chaos-processes.ts';
import type { ChaosProcesses } from './chaos-processes.ts';
import { serveChaosProxy } from './chaos-proxy.ts';
import { Weather } from './chaos-weather.ts';
import type { Kill } from './chaos-weather.ts';
import { eventually } from './eventually.ts';
import { clusterFullName, createFailoverRig } from './failover-rig.ts';
import type { KubernetesList, KubernetesObject } from './kubernetes-client.ts';

export interface ChaosOptions {
  seed: number;
  minutes: number;
  actions: number;
  lanes: number;
  /** Once the faults have stopped, so long for the answers, and as long for the verdicts. */
  settleSeconds: number;
  say: (line: string) => void;
  /** Where the history is written to, for another look. */
  historyPath?: string;
}

export interface ChaosResult extends Judgement {
  entries: Entry[];
  /** How often each fault and kill was made, and how often each answer was the last one. */
  faults: Map<string, number>;
  outcomes: Map<string, number>;
}

const leasesPath = '/apis/coordination.k8s.io/v1/namespaces/autometric-failover-system/leases';
const reconcileEveryMs = 3_000;

/** The shortest ones that leave the function and the cluster enough time. */
function settingsFor(lanes: number): Record<string, string> {
  return {
    CLUSTERS: clusterFullName,
    COOLDOWN_SECONDS: '90',
    // Two pools are too many.
    MAX_POOLS_PER_HOUR: String(lanes * 2 - 2),
    MAX_ATTEMPTS_PER_DAY: '6',
    RECOVERY_TIMEOUT_SECONDS: '60',
    REPAIR_TIMEOUT_SECONDS: '60',
    RESUME_WITHIN_SECONDS: '240',
    ACTION_DEADLINE_SECONDS: '60',
    APPROVAL_TTL_SECONDS: '60',
  };
}

export async function runChaos(controlPlane: ControlPlane, options: ChaosOptions): Promise<ChaosResult> {
  const { seed, minutes, actions, settleSeconds, say } = options;
  const history = new History();
  const lanes = nameLanes(options.lanes);
  const settings = settingsFor(lanes.length);
  const weather = new Weather(seed, (what) => {
    history.note({ kind: 'trouble', what });
    if (what.startsWith('this minute')) say(what);
  });
  const proxy = await serveChaosProxy(controlPlane, history, weather);
  const emulator = new Emulator({ seed });
  const machines = createChaosMachines(controlPlane.admin, emulator, history);
  const rig = await createFailoverRig(controlPlane, {
    endpoint: proxy,
    emulator,
    machines: machines.machines,
  });
  const google = await serveChaosGoogle(emulator, history, weather, () => machines.tick());
  const stops: (() => Promise<void>)[] = [];
  try {
    await buildLanes(rig, lanes);
    stops.push(await observe(controlPlane.admin, history));
    const environment = {
      ...rig.environment,
      ...settings,
      CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER: `${google.url}/`,
      CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE: `${google.url}/compute/v1/`,
    };
    const processes = await startChaosProcesses(2, environment, history);
    stops.unshift(() => processes.stop());
    const people = new ChaosPeople({
      controlPlane,
      rig,
      machines: machines.machines,
      history,
      random: createRandom(seed + 1),
    });
    const load = new ChaosLoad({ seed, history, processes, people });
    history.note({ kind: 'begin' });
    const scheduler = startReconciling(processes);
    stops.unshift(() => scheduler.stop());

    const kill = async (what: Kill): Promise<void> => {
      if (what === 'function') return processes.crash();
      if (what === 'connections') return proxy.cutAll();
      await controlPlane.crash?.(what);
      await isReady(controlPlane);
    };
    const stopped = new AbortController();
    const storm = [weather.storm(kill, stopped.signal), people.disturb(lanes, stopped.signal)];
    const everyMs = (minutes * 60_000) / actions;
    for (let count = 0; count < actions; count += 1) {
      load.begin(lanes);
      await delay(everyMs);
      if (count % 20 === 19) say(`${count + 1} actions and alerts are begun`);
    }
    stopped.abort();
    await Promise.all(storm);
    history.note({ kind: 'fair' });
    say('the faults stop');
    await isReady(controlPlane);

    await load.end(settleSeconds * 1000);
    say('every action and alert is answered, as far as it will be');
    const open = await settle(controlPlane, settleSeconds * 1000);
    say(`${open.length} are open`);
    const held = await locksHeld(controlPlane);
    const result = judge(history.entries, lanes, readConfig(settings));
    const blame = (promise: PromiseId, whom: string[], what: string): void => {
      if (whom.length > 0) result.violations.push(`${promise}: ${whom.join(', ')} ${what}`);
    };
    blame('actions-settle', open, `left open ${settleSeconds} s after the last answer`);
    blame('actions-end', load.unended, 'did not come to an end');
    blame('lock-ends', held, 'held though nothing is open');
    return {
      ...result,
      entries: history.entries,
      faults: weather.counts,
      outcomes: count(load.outcomes.values()),
    };
  } finally {
    if (options.historyPath !== undefined) {
      const lines = history.entries.map((entry) => JSON.stringify(entry));
      await writeFile(options.historyPath, `${lines.join('\n')}\n`);
    }
    for (const stop of stops) await stop();
    await machines.stop();
    await google.close();
    await rig.stop();
    await proxy.close();
  }
}

/** Judges a history that was written before. */
export function judgeAgain(text: string, lanes: number): Judgement & { entries: Entry[] } {
  const entries = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Entry);
  return { ...judge(entries, nameLanes(lanes), readConfig(settingsFor(lanes))), entries };
}

function startReconciling(processes: ChaosProcesses): { stop(): Promise<void> } {
  const stopped = new AbortController();
  const running = (async () => {
    while (!stopped.signal.aborted) {
      await delay(reconcileEveryMs, undefined, { signal: stopped.signal }).catch(() => undefined);
      // The next one comes whether or not this one has ended.
      if (!stopped.signal.aborted) void processes.send('reconcile', { path: '/reconcile', body: undefined });
    }
  })();
  return {
    async stop() {
      stopped.abort();
      await running;
    },
  };
}

function isReady({ admin }: ControlPlane): Promise<boolean> {
  return eventually(
    'the API server is ready',
    async () => (await admin.request('GET', '/readyz')).status === 200,
    {
      timeoutMs: 120_000,
      intervalMs: 200,
    },
  );
}

async function listLeases({ admin }: ControlPlane): Promise<KubernetesObject[]> {
  return (await admin.get<KubernetesList<KubernetesObject>>(leasesPath)).items ?? [];
}

/** Waits until reconcile has nothing open. @returns the ids of what it leaves open */
async function settle(controlPlane: ControlPlane, withinMs: number): Promise<string[]> {
  const until = Date.now() + withinMs;
  for (;;) {
    const open = (await listLeases(controlPlane)).filter(
      ({ metadata }) => metadata.labels?.['autometric-failover/open'] === 'true',
    );
    const ids = open.map(({ metadata }) => metadata.annotations?.['autometric-failover/id'] ?? metadata.name);
    if (ids.length === 0 || Date.now() > until) return ids;
    await delay(1_000);
  }
}

/** The locks that are held for longer than one lasts that nobody renews, though nothing is done any more. */
async function locksHeld(controlPlane: ControlPlane): Promise<string[]> {
  const until = Date.now() + 75_000;
  for (;;) {
    const held = (await listLeases(controlPlane)).flatMap(({ metadata, spec }) => {
      const { holderIdentity = '', renewTime = '' } = (spec ?? {}) as {
        holderIdentity?: string;
        renewTime?: string;
      };
      const isHeld = holderIdentity !== '' && Date.parse(renewTime) > Date.now() - 75_000;
      return metadata.name.startsWith('pool-') && isHeld ? [metadata.name] : [];
    });
    if (held.length === 0 || Date.now() > until) return held;
    await delay(1_000);
  }
}

function count(all: Iterable<string>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const each of all) counts.set(each, (counts.get(each) ?? 0) + 1);
  return counts;
}

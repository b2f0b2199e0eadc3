import type { EmulatedCluster } from '../emulator/cluster.ts';
import type { Emulator } from '../emulator/emulator.ts';
import type { Node, Pod } from '../emulator/objects.ts';
import type { LiedAbout } from './lie-stories.ts';

const attemptLabel = 'jobset.sigs.k8s.io/restart-attempt';
const indexLabel = 'batch.kubernetes.io/job-completion-index';
const jobLabel = 'batch.kubernetes.io/job-name';
const accelerators = ['google.com/tpu', 'nvidia.com/gpu'];
const statusLabel = 'cloud.google.com/report-and-replace-status';
const operationLabel = 'cloud.google.com/report-and-replace-operation';

/** The world at one time: what is well, as the emulated machines and pods are and not as anybody tells it. */
interface Moment {
  at: number;
  /** By attempt and Job, `<attempt>/<uid of the Job>`, which of its pods run and are Ready. */
  pods: Map<string, Set<string>>;
  /** The machines that run, are Ready and have all their accelerators, by name with their id. */
  machines: Map<string, string>;
  /** Whether the old machine is another one, or was started anew, or its host reported, as was asked for. */
  isChanged: boolean;
}

/** What was before the action. */
interface Before {
  about: LiedAbout;
  nodePool: string;
  attempt: number;
  jobs: Set<string>;
  machine: { name: string; id: string; bootId: string; startedAt: number; host: string };
  reportOperation: string | undefined;
  size: number;
  wantedPods: number;
}

/**
 * What is true of a recovery, by a model of its own: it looks at the machines and pods themselves, and shares nothing with the
 * source. A claim holds if each of its parts was true at some time within a window, because nobody can know better than what lags.
 */
export class Truth {
  readonly #emulator: Emulator;
  readonly #cluster: EmulatedCluster;
  readonly #now: () => number;
  readonly #isOneChipDead: () => boolean;
  readonly #before: Before;
  #moments: Moment[] = [];

  constructor(
    world: { emulator: Emulator; cluster: EmulatedCluster; now: () => number; isOneChipDead: () => boolean },
    about: LiedAbout,
    nodePool: string,
    nodeName: string,
  ) {
    this.#emulator = world.emulator;
    this.#cluster = world.cluster;
    this.#now = world.now;
    this.#isOneChipDead = world.isOneChipDead;
    const machine = this.#machineOf(nodeName);
    const node = this.#cluster.get('nodes', undefined, nodeName);
    this.#before = {
      about,
      nodePool,
      attempt: this.#cluster.jobsets('default')[0]?.status?.restarts ?? 0,
      jobs: new Set(this.#cluster.jobs('default').map(({ metadata }) => metadata.uid)),
      machine: {
        name: nodeName,
        id: machine?.id ?? '',
        bootId: node?.status.nodeInfo.bootID ?? '',
        startedAt: machine?.startedAt ?? 0,
        host: machine?.host ?? '',
      },
      reportOperation: node?.metadata.labels?.[operationLabel],
      size: this.#cluster.nodes(nodePool).length,
      wantedPods: this.#cluster.pods('default').length,
    };
  }

  /** Something may have changed in the world. */
  observe(): void {
    const { nodePool } = this.#before;
    const pods = new Map<string, Set<string>>();
    for (const pod of this.#cluster.pods('default')) {
      if (!isPodWell(pod)) continue;
      const { labels = {}, ownerReferences } = pod.metadata;
      const run = `${labels[attemptLabel] ?? '0'}/${ownerReferences?.[0]?.uid ?? ''}`;
      const slot = `${labels[jobLabel] ?? ''} ${labels[indexLabel] ?? ''}`;
      pods.set(run, (pods.get(run) ?? new Set()).add(slot));
    }
    const machines = new Map<string, string>();
    for (const node of this.#cluster.nodes(nodePool)) {
      const { name } = node.metadata;
      const machine = this.#machineOf(name);
      if (machine?.status === 'RUNNING' && this.#isNodeWell(node)) machines.set(name, machine.id);
    }
    const last = this.#moments.at(-1);
    const now = this.#now();
    const isChanged = this.#isChanged() || last?.isChanged === true;
    this.#moments.push({ at: now, pods, machines, isChanged });
  }

  /** Whether a run of a newer attempt, or of other Jobs, was back at some time since then. */
  wasRunBack(since: number): boolean {
    return this.#isRunBack(this.#during(since));
  }

  /** Whether the machine was repaired and its pool whole at some time since then. */
  wasRepaired(since: number): boolean {
    // GKE may have made the machine anew instead of reporting its host.
    return this.#isRepaired(this.#during(since), this.#before.about === 'report');
  }

  /** Whether it was so all the time since then. */
  isLasting(since: number): boolean {
    const { about } = this.#before;
    const isRun = about === 'restart' || about === 'recreation';
    return this.#during(since).every((moment) =>
      isRun ? this.#isRunBack([moment]) : this.#isRepaired([moment]),
    );
  }

  /** Whether GKE has ever done what was asked for, whole or not. */
  get isChanged(): boolean {
    return this.#moments.at(-1)?.isChanged === true;
  }

  /** Whether the machine that has the old one's name is on its host. */
  get isOnSameHost(): boolean {
    const { machine } = this.#before;
    return this.#machineOf(machine.name)?.host === machine.host;
  }

  #isRunBack(moments: Moment[]): boolean {
    const { attempt, jobs, wantedPods } = this.#before;
    const slots = new Map<string, Set<string>>();
    for (const { pods } of moments) {
      for (const [run, well] of pods) {
        const [its = '', job = ''] = run.split('/');
        if (Number(its) < attempt || jobs.has(job)) continue;
        const all = slots.get(its) ?? new Set();
        for (const slot of well) all.add(slot);
        slots.set(its, all);
      }
    }
    return [...slots.values()].some((well) => well.size >= wantedPods);
  }

  #isRepaired(moments: Moment[], isInstead = false): boolean {
    const { about, machine, size } = this.#before;
    const well = new Set<string>();
    const isBad = (id: string) => (isAnother(about) || isInstead) && id === machine.id;
    for (const { machines, isChanged } of moments) {
      for (const [name, id] of machines) {
        // The repair of one machine leaves the others as they are, and when they were well does not depend on it.
        const isOther = about !== 'slice_repair' && name !== machine.name;
        if ((isChanged || isInstead || isOther) && !isBad(id)) well.add(name);
      }
    }
    return well.size >= size;
  }

  #during(since: number): Moment[] {
    const first = this.#moments.findLastIndex(({ at }) => at <= since);
    return this.#moments.slice(Math.max(first, 0));
  }

  #isChanged(): boolean {
    const { about, machine, reportOperation } = this.#before;
    const now = this.#machineOf(machine.name);
    const node = this.#cluster.get('nodes', undefined, machine.name);
    if (about === 'report') {
      const { [statusLabel]: status, [operationLabel]: operation } = node?.metadata.labels ?? {};
      return status === 'OperationDone' && operation !== undefined && operation !== reportOperation;
    }
    if (now && now.id !== machine.id) return true;
    if (about === 'reboot') return node !== undefined && node.status.nodeInfo.bootID !== machine.bootId;
    if (about === 'maintenance') return now !== undefined && now.startedAt !== machine.startedAt;
    return !now;
  }

  #isNodeWell(node: Node): boolean {
    const { conditions, capacity, allocatable } = node.status;
    const isReady = conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
    const hasChips = accelerators.every(
      (name) => Number(allocatable[name] ?? 0) >= Number(capacity[name] ?? 0),
    );
    return isReady && hasChips && !this.#isOneChipDead();
  }

  #machineOf(name: string) {
    return this.#emulator.fleet.list().find((machine) => machine.name === name);
  }
}

/** Whether the repair makes another machine of it. */
function isAnother(about: LiedAbout): boolean {
  return about === 'slice_repair' || about === 'machine_repair' || about === 'gkes_repair';
}

function isPodWell({ metadata, status }: Pod): boolean {
  if (metadata.deletionTimestamp !== undefined || status.phase !== 'Running') return false;
  return status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') === true;
}

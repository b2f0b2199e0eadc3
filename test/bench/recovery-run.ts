import { execFile } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { ControlPlane } from '../control-plane/capabilities.ts';
import { eventually } from '../control-plane/eventually.ts';
import { jobCondition } from '../control-plane/jobset-run.ts';
import { patchTypes } from '../control-plane/kubernetes-client.ts';
import type { Pod } from '../control-plane/kubernetes-client.ts';
import { createKwokMachines } from '../control-plane/kwok-machines.ts';
import { createWorld, poolLabel } from '../control-plane/world.ts';
import type { World } from '../control-plane/world.ts';
import type { FunctionProcess } from './function-process.ts';

/**
 * How a run is moved. Before `limit`, `leader` and `deadline` the pool is cordoned. `limit` tells the Job to fail, `leader`
 * deletes its leader with grace 0, and `deadline` ends it by its deadline.
 */
export type Way = 'function' | 'limit' | 'leader' | 'deadline' | 'kubectl';

/** A run that is measured. */
export interface RecoverySpec {
  backoffLimit: number;
  /** Its machine has been dead for two minutes. */
  hasDeadFollower: boolean;
  /** How long its pods take to end. */
  podSeconds: number;
  /** What the request gives them. */
  graceSeconds?: number;
}

const nodeCount = 16;
const indexLabel = 'batch.kubernetes.io/job-completion-index';
const givenUpAfterMs = 120_000;
const lookMs = 50;

/** A JobSet of 16 pods on a slice of its own, with another one free. */
export class RecoveryRun {
  readonly #spec: RecoverySpec;
  readonly #controlPlane: ControlPlane;
  readonly #name: string;
  readonly #world: World;
  #before: Pod[] = [];
  #badNodes: string[] = [];

  /** Answers once it runs. */
  static async begin(spec: RecoverySpec, controlPlane: ControlPlane, name: string): Promise<RecoveryRun> {
    const run = new RecoveryRun(spec, controlPlane, name);
    await run.#start();
    return run;
  }

  private constructor(spec: RecoverySpec, controlPlane: ControlPlane, name: string) {
    this.#spec = spec;
    this.#controlPlane = controlPlane;
    this.#name = name;
    this.#world = createWorld(controlPlane.admin, createKwokMachines(controlPlane.admin));
  }

  async #start(): Promise<void> {
    const { backoffLimit, podSeconds, hasDeadFollower } = this.#spec;
    // Runs that are beside this one have machines of their own.
    const accelerator = `tpu-${this.#name}`;
    await this.#world.addTpuSlice(`${this.#name}-bad`, { accelerator });
    await this.#world.addJobSet({
      name: this.#name,
      accelerator,
      backoffLimit,
      ...(podSeconds > 0 ? { graceSeconds: podSeconds } : {}),
    });
    const isUp = async () => (await this.#world.runningPods(this.#name)).length === nodeCount;
    await eventually(`${this.#name} is up`, isUp);
    this.#before = await this.#world.pods(this.#name);
    this.#badNodes = this.#before.map(({ spec }) => spec.nodeName ?? '');
    await this.#world.addTpuSlice(`${this.#name}-free`, { accelerator });
    if (hasDeadFollower) {
      await this.#world.killNode(this.#find('7').spec.nodeName ?? '', { notReadyForSeconds: 120 });
    }
    // What the start has left to do is done meanwhile.
    await delay(500);
  }

  /** Moves the run, and answers how many seconds it was away. */
  async recover(way: Way, started: FunctionProcess): Promise<number> {
    if (way !== 'function' && way !== 'kubectl') await this.#cordon();
    const at = performance.now();
    const moving = this.#move(way, started);
    // It is rejected only where nobody could wait for a recovery.
    const failed = moving.then(() => new Promise<never>(() => undefined));
    await Promise.race([failed, this.#isBack()]);
    const seconds = (performance.now() - at) / 1000;
    await moving;
    return seconds;
  }

  async #move(way: Way, started: FunctionProcess): Promise<void> {
    switch (way) {
      case 'function':
        return this.#post(started);
      case 'limit':
        return this.#failByHand();
      case 'leader':
        return this.#delete(this.#find('0'), 0);
      case 'deadline':
        return this.#patchJob({ spec: { activeDeadlineSeconds: 1 } });
      case 'kubectl':
        return this.#useKubectl();
    }
  }

  async remove(): Promise<void> {
    await this.#world.removeAll();
  }

  async #isBack(): Promise<void> {
    const before = new Set(this.#before.map(({ metadata }) => metadata.uid));
    const bad = new Set(this.#badNodes);
    const isBack = async () => {
      const running = await this.#world.runningPods(this.#name);
      const next = running.filter(
        ({ metadata, spec }) => !before.has(metadata.uid) && !bad.has(spec.nodeName ?? ''),
      );
      return next.length === nodeCount;
    };
    await eventually(`${this.#name} is back`, isBack, { intervalMs: lookMs, timeoutMs: givenUpAfterMs });
  }

  async #post(started: FunctionProcess): Promise<void> {
    const { graceSeconds } = this.#spec;
    const { status, body } = await started.post({
      id: this.#name,
      requestor: 'bench',
      reason: 'bench',
      type: 'cordon_nodepool_and_restart_jobset',
      jobset_name: this.#name,
      node_pool: `${this.#name}-bad`,
      ...(graceSeconds === undefined ? {} : { restart_grace_seconds: graceSeconds }),
    });
    if (status !== 200) throw new Error(`not done: ${JSON.stringify(body)}`);
  }

  async #failByHand(): Promise<void> {
    await this.#patchJob({ status: { conditions: [jobCondition('FailureTarget')] } }, '/status');
    const { graceSeconds, hasDeadFollower } = this.#spec;
    const pods = graceSeconds !== undefined ? this.#before : hasDeadFollower ? [this.#find('7')] : [];
    await Promise.all(pods.map((pod) => this.#delete(pod, graceSeconds ?? 0)));
  }

  async #patchJob(body: object, subresource = ''): Promise<void> {
    const { labels = {}, namespace } = this.#find('0').metadata;
    const job = `/apis/batch/v1/namespaces/${namespace}/jobs/${labels['batch.kubernetes.io/job-name']}`;
    const { status, text } = await this.#controlPlane.admin.request('PATCH', `${job}${subresource}`, {
      body,
      contentType: patchTypes.merge,
    });
    if (status !== 200) throw new Error(`the Job was not patched: ${text}`);
  }

  async #delete({ metadata: { name, namespace, uid } }: Pod, gracePeriodSeconds: number): Promise<void> {
    await this.#controlPlane.admin.request('DELETE', `/api/v1/namespaces/${namespace}/pods/${name}`, {
      body: { gracePeriodSeconds, preconditions: { uid } },
    });
  }

  async #useKubectl(): Promise<void> {
    const kubectl = (...words: string[]) =>
      promisify(execFile)('kubectl', ['--kubeconfig', this.#controlPlane.kubeconfigPath, ...words]);
    await kubectl('cordon', '-l', `${poolLabel}=${this.#name}-bad`);
    const { name, namespace = 'default' } = this.#find('0').metadata;
    await kubectl('delete', 'pod', name, '-n', namespace, '--wait=false');
  }

  async #cordon(): Promise<void> {
    const body = { spec: { unschedulable: true } };
    await Promise.all(
      this.#badNodes.map((node) => this.#controlPlane.admin.patch(`/api/v1/nodes/${node}`, body)),
    );
  }

  #find(index: string): Pod {
    const pod = this.#before.find(({ metadata }) => metadata.labels?.[indexLabel] === index);
    if (!pod) throw new Error(`${this.#name} has no pod ${index}`);
    return pod;
  }
}

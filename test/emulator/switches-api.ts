import type { Emulator } from './emulator.ts';
import { toJsonResponse } from './http.ts';
import type { HttpRequest, HttpResponse } from './http.ts';
import type { Switches, TurnOff } from './switches.ts';

const toTurnOn: Record<string, (switches: Switches, target: string) => TurnOff> = {
  'fill-pool': (switches, pool) => switches.fillPool(pool),
  'taint-pool': (switches, pool) => switches.taintPool(pool),
  'fail-image-pulls': (switches, jobSet) =>
    switches.failImagePulls(({ metadata }) => metadata.labels?.['jobset.sigs.k8s.io/jobset-name'] === jobSet),
  'withhold-machines': (switches, pool) => switches.withholdMachines(pool),
  'withhold-accelerators': (switches, pool) => switches.withholdAccelerators(pool),
  'keep-hosts': (switches, pool) => switches.keepHosts(pool),
  'keep-hosts-once': (switches, pool) => switches.keepHosts(pool, 1),
  'fail-deletions': (switches, pool) => switches.failDeletions(pool),
  'fail-reports': (switches, pool) => switches.failReports(pool),
  'ignore-labels': (switches, pool) => switches.ignoreLabels(pool),
  'keep-reboot-labels': (switches, pool) => switches.keepRebootLabels(pool),
  'announce-maintenance': (switches, pool) => switches.announceMaintenance(pool),
  'upgrade-pool': (switches, pool) => switches.upgradePool(pool),
  'auto-repair': (switches, pool) => switches.autoRepair(pool),
  'hang-auto-repair': (switches, pool) => switches.hangAutoRepair(pool),
  'scale-down': (switches, pool) => switches.scaleDown(pool),
  'delete-pool': (switches, pool) => switches.deletePool(pool),
  'maintain-host': (switches, pool) => switches.maintainHost(pool),
  'stock-out': (switches, pool) => switches.stockOut(pool),
};

export const switchesPath = '/switches';

/**
 * Turns the switches of the emulator's first cluster on and off by HTTP: `PUT /switches/fill-pool/slice-b` and the same
 * with DELETE. DELETE of `/switches/all` turns all off, GET of `/switches` lists those that are on.
 */
export class SwitchesApi {
  readonly #emulator: Emulator;
  readonly #on = new Map<string, TurnOff>();

  constructor(emulator: Emulator) {
    this.#emulator = emulator;
  }

  handle({ method, path }: HttpRequest): HttpResponse {
    const key = path.slice(switchesPath.length).replace(/^\//, '');
    const error = this.#change(method, key);
    if (error !== undefined) return toJsonResponse(404, { error, switches: Object.keys(toTurnOn) });
    return toJsonResponse(200, { on: [...this.#on.keys()] });
  }

  /** @returns what is wrong, if anything */
  #change(method: string, key: string): string | undefined {
    if (method === 'GET' && key === '') return undefined;
    if (method === 'DELETE') {
      for (const each of key === 'all' ? [...this.#on.keys()] : [key]) {
        this.#on.get(each)?.();
        this.#on.delete(each);
      }
      return undefined;
    }
    if (method !== 'PUT') return `PUT turns a switch on and DELETE turns it off, not ${method}`;
    if (this.#on.has(key)) return undefined;
    const [name = '', target = '', ...rest] = key.split('/');
    const turnOn = Object.hasOwn(toTurnOn, name) ? toTurnOn[name] : undefined;
    const [cluster] = this.#emulator.clusters.values();
    if (!turnOn || !cluster || target === '' || rest.length > 0) {
      return `no switch ${key}; write its name and what it breaks, such as fill-pool/slice-b`;
    }
    try {
      this.#on.set(key, turnOn(cluster.switches, target));
      return undefined;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }
}

import fc from 'fast-check';
// The clients of Google's APIs read their answers field by field, so an answer to a machine's deletion is not damaged here.
import { apply, damage } from '../fixtures/damage.ts';
import { assertPromises } from '../fixtures/promise-watch.ts';
import { nodeNames } from '../fixtures/train-world.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';
import type { SentCall } from './function-instance.ts';

/** The answers that are damaged: those of one kind, from one on, as long as it lasts. */
export interface DamagedAnswers {
  type: string;
  /** Which kind of object is damaged. */
  of: keyof typeof kinds;
  /** The first and the last answer of its kind that is damaged. */
  first: number;
  count: number;
  /** Damage of the parsed body, or what is sent instead of it. */
  damages: { path: number[]; value: unknown }[] | undefined;
  text: string;
  reconciles: boolean;
}

const kinds = {
  nodes: /^GET .*\/nodes/,
  pods: /^GET .*\/pods/,
  jobsets: /^GET .*\/jobsets/,
  jobs: /^GET .*\/jobs/,
  leases: /^GET .*\/leases/,
  written_leases: /^(?:PUT|POST) .*\/leases/,
  patched_nodes: /^PATCH .*\/nodes/,
  deletions: /^DELETE \/api/,
  instances: /^GET .*\/instances/,
  container: /^GET .*(?:clusters\/demo|operations)$/,
} as const;

export const damagedAnswers: fc.Arbitrary<DamagedAnswers> = fc.record({
  type: fc.constantFrom(
    'cordon_nodepool',
    'uncordon_nodepool',
    'cordon_nodepool_and_restart_jobset',
    'cordon_nodepool_and_restart_jobset',
    'cordon_and_repair_nodepool',
    'repair_nodepool',
  ),
  of: fc.constantFrom(...(Object.keys(kinds) as (keyof typeof kinds)[])),
  first: fc.nat(4),
  count: fc.constantFrom(1, 2, 1000),
  damages: fc.option(fc.array(damage, { minLength: 1, maxLength: 3 }), { nil: undefined, freq: 8 }),
  text: fc.constantFrom(
    '',
    'null',
    '[]',
    '"x"',
    '{}',
    '{"items":null}',
    '<html>',
    '{"items":[null]}',
    '{"metadata":7}',
  ),
  reconciles: fc.boolean(),
});

/** Sends an action whose answers are damaged, and reconciles with them. @returns what must not be */
export async function runDamaged(drawn: DamagedAnswers): Promise<string[]> {
  const world = new VirtualFailover();
  const wrong: string[] = [];
  let seen = 0;
  let isOn = true;
  const instance = world.newInstance(
    0,
    () => 'none',
    (call, answer) => {
      if (!isOn || answer.status >= 300 || !isOfKind(call, drawn)) return answer;
      const number = seen++;
      if (number < drawn.first || number >= drawn.first + drawn.count) return answer;
      if (!drawn.damages) return { ...answer, body: drawn.text };
      const body = drawn.damages.reduce<unknown>(
        (value, each) => apply(value, each),
        JSON.parse(answer.body),
      );
      return { ...answer, body: JSON.stringify(body) ?? '' };
    },
  );
  const own = new Set(nodeNames(world.cluster, 'slice-a'));
  const needsJobSet = drawn.type.includes('jobset');
  const body = {
    id: 'a',
    type: drawn.type,
    node_pool: 'slice-a',
    ...(needsJobSet ? { jobset_name: 'train' } : {}),
  };
  const { code, error } = await world.send(body, instance);
  if (code === 'internal') wrong.push(`answered internal: ${error}`);
  if (drawn.reconciles) {
    await world.pass(150);
    await world
      .reconcile({}, instance)
      .catch((failure: unknown) => wrong.push(`reconcile threw ${String(failure)}`));
    for (const line of world.log) {
      if (line['stack_trace'] !== undefined || line['code'] === 'internal') {
        wrong.push(`reconcile logged ${String(line['stack_trace'] ?? line['message'])}`);
      }
    }
  }
  for (const { method, path } of world.emulator.writes()) {
    const [, name] = /^\/api\/v1\/nodes\/([^/?]+)/.exec(path) ?? [];
    if (method === 'PATCH' && name !== undefined && !own.has(name)) {
      wrong.push(`${method} ${path}, a node of another pool`);
    }
  }
  for (const { instance: machine } of world.emulator.fleet.deletions) {
    if (!own.has(machine.name)) wrong.push(`machine ${machine.name} of another pool was deleted`);
  }
  // Once the answers are whole again, the same id comes to its end.
  isOn = false;
  await world.pass(120);
  const again = await world.send(body, instance);
  if (again.code === 'internal') wrong.push(`answered internal at last: ${again.error}`);
  try {
    assertPromises();
  } catch (broken) {
    wrong.push(String(broken));
  }
  return wrong;
}

function isOfKind({ method, path }: SentCall, { of }: DamagedAnswers): boolean {
  return kinds[of].test(`${method} ${path.split('?')[0] ?? path}`);
}

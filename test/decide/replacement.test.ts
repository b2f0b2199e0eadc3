import { expect } from 'chai';
import { assertNotReplacement } from '../../src/decide/replacement.ts';
import { UpstreamError } from '../../src/errors.ts';
import type { Instance } from '../../src/gke/compute.ts';
import type { NodeHealth } from '../../src/gke/nodes.ts';
import { Ignored } from '../../src/ignored.ts';
import type { RepairPlan } from '../../src/plan.ts';
import type { Action } from '../../src/request/action.ts';
import { healthOf, incidentOf } from '../fixtures/node-health.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';

const began = Date.parse('2026-11-23T03:00:00Z');
const minute = 60_000;
const bootSeconds = 1200;
/** The node has not been Ready since the incident began. */
const dead = { isReady: false, readyChangedAt: began };

interface Case {
  machine?: Partial<Instance> | undefined | Error;
  node?: Partial<NodeHealth>;
  instanceId?: string | undefined;
  isAlert?: boolean;
  now?: number;
}

/** @returns what Compute was asked, and what came of it */
async function ask(of: Case): Promise<{ asked: number; warning: string | undefined }> {
  const { node = dead, isAlert = false, now = began + 10 * minute } = of;
  const instanceId = 'instanceId' in of ? of.instanceId : '100';
  const plan = { instanceName: 'vm-0', zone: 'z', projectId: 'p', ...(instanceId && { instanceId }) };
  let asked = 0;
  const askMachine = async () => {
    asked += 1;
    if (of.machine instanceof Error) throw of.machine;
    if ('machine' in of && of.machine === undefined) return undefined;
    return { id: '100', status: 'RUNNING', createdAt: began - minute, ...of.machine };
  };
  const action = isAlert ? { incident: incidentOf({ startedAt: began }) } : {};
  const tools = { config: { repairTimeoutSeconds: bootSeconds }, askMachine, serverNow: now };
  const warning = await assertNotReplacement(
    action as Action,
    plan as RepairPlan,
    healthOf('gke-0', node),
    tools,
  );
  return { asked, warning };
}

async function ignored(of: Case): Promise<Ignored> {
  const error: unknown = await ask({ ...of, isAlert: true }).catch((thrown: unknown) => thrown);
  expect(error).to.be.instanceOf(Ignored);
  return error as Ignored;
}

const free = { asked: 1, warning: undefined };

describe('assertNotReplacement', () => {
  it('asks only for a node that is not Ready and says which machine it has', async () => {
    expect(await ask({ node: {} })).to.deep.equal({ asked: 0, warning: undefined });
    expect(await ask({ instanceId: undefined })).to.deep.equal({ asked: 0, warning: undefined });
    expect(await ask({})).to.deep.equal(free);
  });

  it('lets a machine go that is gone, that is the old one, or whose age is not known', async () => {
    expect(await ask({ machine: undefined })).to.deep.equal(free);
    expect(await ask({ machine: { createdAt: began } })).to.deep.equal(free);
    expect(await ask({ machine: { createdAt: undefined } })).to.deep.equal(free);
    expect(await ask({ machine: { createdAt: began }, isAlert: true })).to.deep.equal(free);
  });

  it('warns where the function may not ask, and fails where Compute fails', async () => {
    const failing = (status: number) =>
      new UpstreamError({ api: 'Compute API', call: 'read instance', status });
    const { warning } = await ask({ machine: failing(403) });
    expect(warning).to.match(/^whether the machine is a replacement .* because the Compute API answered 403/);
    expect(await refusalOf(ask({ machine: failing(500) }))).to.have.property('code', 'upstream_failed');
  });

  it('refuses a machine that was created after the node had stopped being Ready', async () => {
    const { code, message } = await refusalOf(ask({ machine: { createdAt: began + 1000 } }));
    expect(code).to.equal('repair_refused');
    expect(message).to.match(
      /^machine vm-0 \(id 100\) of node gke-0 was created at 2026-11-23T03:00:01.*, after the node had stopped being Ready at 2026-11-23T03:00:00.*, so it is the replacement, .*; nothing was deleted\. If the node is not Ready by 2026-11-23T03:20:01.* gcloud compute instances describe vm-0 --zone z --project p$/,
    );
    const never = { isReady: false, readyChangedAt: undefined, createdAt: began };
    expect(await refusalOf(ask({ machine: { createdAt: began + 1 }, node: never }))).to.have.property(
      'code',
      'repair_refused',
    );
    expect(await ask({ machine: { createdAt: began }, node: never })).to.deep.equal(free);
  });

  it('refuses another machine than the node says, however old', async () => {
    const { message } = await refusalOf(ask({ machine: { id: '200' } }));
    expect(message).to.match(
      /\(id 200\) .* was created at .*, and the node still says 100, so it is the replacement/,
    );
    const unknown = await refusalOf(ask({ machine: { id: '200', createdAt: undefined } }));
    expect(unknown.message).to.match(/has another id than the node says, and .* by 2026-11-23T03:30:00/);
  });

  it('takes a replacement for broken that has had its time to boot', async () => {
    const machine = { id: '200', createdAt: began };
    const now = began + bootSeconds * 1000;
    expect(await ask({ machine, now })).to.deep.equal(free);
    expect(await refusalOf(ask({ machine, now: now - 1 }))).to.have.property('code', 'repair_refused');
  });

  it('ignores an alert about a machine that was replaced since it began', async () => {
    const over = await ignored({ machine: { createdAt: began + 1000 } });
    expect(over.message).to.match(
      /^recovered: machine vm-0 .* was created at 2026-11-23T03:00:01.*, after the incident began at 2026-11-23T03:00:00/,
    );
    expect(over.isOver).to.equal(true);
  });

  it('ignores an alert while a replacement boots that came before it', async () => {
    const handled = await ignored({ machine: { id: '200', createdAt: began } });
    expect(handled.message).to.match(/^handled: machine vm-0 \(id 200\) .* still boots$/);
    expect(handled.isOver).to.equal(false);
    expect((await ignored({ machine: { id: '200', createdAt: undefined } })).message).to.match(/^handled: /);
  });
});

import { effectsOf } from '../../src/action-type.ts';
import type { Config } from '../../src/config.ts';
import { parseAction, parseActionOfAlert } from '../../src/request/action.ts';
import type { Action } from '../../src/request/action.ts';
import type { AlertSubject, Incident } from '../../src/request/incident.ts';
import type { InterleavedAction, PlannedIncident } from './interleaving.ts';

/** A node as it was when the run began. Names stay through repairs, ids don't. */
export interface FirstNode {
  name: string;
  instanceId: string;
  zone: string;
}

/** Makes the action that is sent: each time the same, as a caller or Pub/Sub does. */
export function toAction(
  planned: InterleavedAction,
  id: string,
  world: { config: Config; start: number; firstNodes: Map<string, FirstNode[]> },
): Action {
  const { type, incident } = planned;
  const isRestart = effectsOf[type].restart;
  const nodePool = planned.pool ?? (isRestart ? undefined : 'slice-a');
  const node =
    nodePool === undefined || planned.node === undefined
      ? undefined
      : world.firstNodes.get(nodePool)?.[planned.node];
  const body = {
    id,
    type,
    requestor: 'interleaving',
    reason: 'random',
    node_pool: nodePool,
    node_name: node?.name,
    jobset_name: isRestart ? 'train' : undefined,
    ...(planned.onFailure === undefined ? {} : { on_failure: planned.onFailure }),
    ...(planned.graceSeconds === undefined ? {} : { restart_grace_seconds: planned.graceSeconds }),
    ...(planned.needsApproval ? { approval: 'required' } : {}),
    ...(planned.uncordonWhenRepaired ? { uncordon_when_repaired: true } : {}),
  };
  const { clusters } = world.config;
  if (!incident) {
    const parsed = parseAction(JSON.parse(JSON.stringify(body)), clusters, 'generated');
    return planned.needsApproval ? { ...parsed, caller: asker } : parsed;
  }
  const subject = toSubject(incident, isRestart, node) ?? (nodePool === undefined ? ofJobSet : undefined);
  const named = subject ? { ...body, node_pool: undefined, node_name: undefined } : body;
  const action = parseActionOfAlert(JSON.parse(JSON.stringify(named)), clusters, id);
  return { ...action, incident: toIncident(incident, { id, subject, node, start: world.start }) };
}

/** Who asks for what needs an approval. */
const asker = 'asker@example.com';

/** Makes the action of the close of an action's incident. */
export function toClose(action: Action): Action {
  const { incident } = action;
  if (!incident) throw new Error(`${action.id} has no incident that could close`);
  const type = 'uncordon_nodepool';
  return {
    ...action,
    id: `${action.id}.closed`,
    type,
    effects: effectsOf[type],
    incident: { ...incident, isClosed: true },
  };
}

const ofJobSet: AlertSubject = { kind: 'jobset' };

function toSubject(
  { names }: PlannedIncident,
  isRestart: boolean,
  node: FirstNode | undefined,
): AlertSubject | undefined {
  if (names === 'jobset' && isRestart) return ofJobSet;
  if (names !== 'machine' || !node) return undefined;
  return { kind: 'instance', instanceId: node.instanceId, zone: node.zone };
}

function toIncident(
  { startedAt, uncordonsOnClose }: PlannedIncident,
  of: { id: string; subject: AlertSubject | undefined; node: FirstNode | undefined; start: number },
): Incident {
  return {
    id: of.id,
    startedAt: of.start + startedAt,
    isRenotification: false,
    isClosed: false,
    uncordonsOnClose,
    subject: of.subject,
    displayName: of.subject?.kind === 'instance' ? (of.node?.name ?? '') : '',
    namespace: undefined,
  };
}

import { actionTypes, effectsOf } from '../action-type.ts';
import type { Kubernetes } from '../gke/kubernetes.ts';
import { listCordoned, listSchedulable } from '../gke/nodes.ts';
import { actionAnnotation } from '../names.ts';
import { listOwnEffects } from '../state/cooldown.ts';
import { readPoolMarks } from '../state/pool-lease.ts';
import type { ActionRecord } from '../state/record-format.ts';
import { toAskMachine } from '../gke/compute.ts';
import { createReader } from '../verify/verify.ts';
import type { ReconcileTools, Result } from './report.ts';
import { giveVerdict, settle } from './settle.ts';

/** Gives an action up. What it has deleted is verified like that of an action that is done. */
export async function abandon(record: ActionRecord, tools: ReconcileTools, isOld: boolean): Promise<Result> {
  const { kubernetes } = tools.cluster;
  if (record.stopped?.hasDeleted === true) {
    return settle(record, {
      ...tools,
      reader: createReader(kubernetes, toAskMachine(tools.services.readInstance, tools.deadline)),
    });
  }
  const tried = record.resumes === 0 ? '' : `, after ${record.resumes} more tries`;
  const since = isOld
    ? `nobody has finished it within ${tools.services.config.resumeWithinSeconds} s${tried}`
    : `it stopped again after ${record.resumes} more tries`;
  const last = record.stopped ? `; it ended with ${record.stopped.code}: ${record.stopped.error}` : '';
  const [deleted, cordoned] = await Promise.all([
    describeDeletions(record, kubernetes),
    describeCordons(record, kubernetes),
  ]);
  const why = `${since}${last}; ${deleted}; ${cordoned}`;
  const at = new Date(kubernetes.serverNow()).toISOString();
  return giveVerdict(record, { verdict: 'abandoned', at, why }, tools);
}

/** Each deletion has a mark on the pool's Lease before it is sent. */
async function describeDeletions({ id, nodePool }: ActionRecord, kubernetes: Kubernetes): Promise<string> {
  const effects = listOwnEffects(await readPoolMarks(kubernetes, nodePool), id);
  if (!effects) return 'what it has deleted is not known, because the marks of the pool are broken';
  if (effects.length === 0) return 'nothing was deleted';
  return effects
    .map(({ effect, way, isAccepted }) => {
      const how = way === undefined ? '' : ` (${way})`;
      const begun = `it began the ${effect.replace(' ', ' of JobSet ')}${how}`;
      const accepted = way === undefined ? 'the deletion was accepted' : 'its label was set';
      return isAccepted ? `${begun}, and ${accepted}` : `${begun}, and whether ${accepted} is not known`;
    })
    .join('; ');
}

/** What the pool lacks, and what a person can do about it. */
async function describeCordons(
  { id, type, nodePool }: ActionRecord,
  kubernetes: Kubernetes,
): Promise<string> {
  const known = actionTypes.find((each) => each === type);
  const again = 'send the same id again to finish it';
  if (known && effectsOf[known].uncordon) {
    return `node pool ${nodePool} may be uncordoned in part: ${again}`;
  }
  const [cordoned, schedulable] = await Promise.all([
    listCordoned(kubernetes, nodePool),
    listSchedulable(kubernetes, nodePool),
  ]);
  const own = cordoned.filter(({ annotations }) => annotations[actionAnnotation] === id).length;
  if (own === 0) return `no node of node pool ${nodePool} is cordoned by it: ${again}`;
  return (
    `${own} of ${cordoned.length + schedulable.length} nodes of node pool ${nodePool} are cordoned by it: ${again}, ` +
    'or uncordon_nodepool to give them back'
  );
}

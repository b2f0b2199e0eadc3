/**
 * What the function must never do, or always, however requests, people and faults meet. The random and the exhaustive suite
 * hold all of it; the table in test/README.md says which break of the source each of them noticed.
 */
export const promises = {
  'one-machine-a-plan': 'For one plan at most one machine is deleted, by its id, and never a replacement.',
  'one-repair-a-cooldown': 'Within the cooldown at most one machine of a pool is deleted.',
  'one-attempt-a-restart': 'A restart ends at most one attempt of a JobSet, and each attempt is ended once.',
  'one-restart-a-cooldown': 'Within the cooldown a pool is restarted from at most once.',
  'approved-first':
    'Nothing is written to the world for an action that needs an approval, before another principal has approved its plan.',
  'cordon-first': 'Nothing is deleted before every node of the pool is cordoned, in the types that cordon.',
  'plan-first': 'Nothing is deleted before a plan that names it is recorded.',
  'lock-first': 'No node is written and nothing is deleted without the lock of the pool.',
  'known-pods-only': 'A pod is deleted by its uid only.',
  'own-grace-holds':
    'A pod gets fewer seconds to end only where the caller says so, and only once its Job is certain to end.',
  'pause-holds': 'Nothing is cordoned or deleted once the function could see that failover is paused.',
  'budget-holds': 'Within an hour no more pools are acted on than the budget allows.',
  'one-hand': 'No machine is deleted while the function knows that GKE itself is at work on it.',
  'people-first': 'A cordon that a person has put on a node stays.',
  'holds-hold': 'The close of an incident uncordons what nobody else wants cordoned, and no more.',
  'closed-is-over': 'Nothing is done for an incident once its close was answered.',
  'recovered-is-over': 'Nothing is done for an alert whose cause was over before anybody looked.',
  'told-by-deeds': 'Nobody is told that another action has done something before its deletion was accepted.',
  'answers-are-true': 'An answer says what was done, no more and no less, and stays the same.',
  'verdicts-are-true': 'A verdict is given once, and says what is.',
  'no-needless-escalation': 'Nothing follows from a failed restart once the run is back.',
  'whole-before-release': 'What follows from a repair releases no pool that is not whole.',
  'attempts-end':
    'No more repairs of one pool, and restarts of one JobSet, within a day than the bound allows.',
  'actions-settle': 'Once the faults stop, reconcile settles every action within bounded time.',
  'lock-ends': 'Once an action has ended, the lock of its pool is released or expires.',
  'actions-end': 'Once the faults stop, the same id sent again, or reconcile, ends the action.',
  'errors-are-chosen': 'Every error is one that the code chose.',
} as const;

export type PromiseId = keyof typeof promises;

/** Notes that a promise was broken, and how. */
export type Violate = (promise: PromiseId, what: string) => void;

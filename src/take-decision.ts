import { setId } from './answer.ts';
import type { Exchange } from './answer.ts';
import type { Deadline } from './clock.ts';
import type { Outcome } from './failover/failover.ts';
import { decideApproval } from './reconcile/approve.ts';
import type { Rejected } from './reconcile/approve.ts';
import { assertNotFromTask, parseDecision } from './request/decision.ts';
import type { Services } from './services.ts';

/** Approves or rejects what a body says. Undefined for any other body. */
export async function takeDecision(
  exchange: Exchange,
  body: unknown,
  deadline: Deadline,
  services: Services,
): Promise<Outcome | Rejected | undefined> {
  const decision = parseDecision(body, services.config.clusters);
  if (!decision) return undefined;
  assertNotFromTask((name) => exchange.request.get(name));
  const { id, type, requestor, reason } = decision;
  const { caller } = exchange;
  setId(exchange, id);
  exchange.type = type;
  const why = reason === undefined ? '' : `: ${reason}`;
  exchange.log.info('received', `${type} of action ${id} from ${requestor}${why}`);
  return decideApproval({ ...decision, caller }, deadline, services, exchange.log);
}

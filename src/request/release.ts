import { effectsOf } from '../action-type.ts';
import type { ActionType, FollowUpType, WhenNoSpare } from '../action-type.ts';
import { invalidAction } from '../errors.ts';
import { dnsLabel } from '../names.ts';

/** How a pool is given back once its machine is. Both are absent where it stays cordoned. */
export interface ReleaseFields {
  uncordonWhenRepaired?: true;
  accept?: string;
}

/**
 * Parses whether a repaired pool is uncordoned, and which test it must pass before.
 *
 * @throws {FailoverError} `invalid_action`, also where nothing would be released
 */
export function parseRelease(
  given: { uncordonWhenRepaired: boolean | undefined; accept: string | undefined },
  {
    type,
    onFailure,
    whenNoSpare,
  }: { type: ActionType; onFailure: FollowUpType | undefined; whenNoSpare: WhenNoSpare | undefined },
): ReleaseFields {
  const { uncordonWhenRepaired = false, accept } = given;
  if (uncordonWhenRepaired && !effectsOf[type].repair && onFailure === undefined) {
    throw invalidAction(
      `uncordon_when_repaired is for an action that repairs, or has on_failure, and ${type} does not`,
    );
  }
  if (accept !== undefined) {
    if (!isTestName(accept)) throw invalidAction(`accept ${acceptRule}`);
    if (!uncordonWhenRepaired && whenNoSpare !== 'repair') {
      throw invalidAction(
        'accept is the test before a pool is released: add uncordon_when_repaired, or when_no_spare repair',
      );
    }
  }
  return { ...(uncordonWhenRepaired && { uncordonWhenRepaired }), ...(accept !== undefined && { accept }) };
}

export const acceptRule =
  'must be the name of a node label, which has a /, . or _, or of a CronJob of at most 52 characters';

/** True if the test is a label of the nodes, and not a CronJob: the name of a CronJob here is a DNS label. */
export function isLabelTest(accept: string): boolean {
  return /[/._]/.test(accept);
}

/** Kubernetes allows a CronJob 52 characters. */
const longestCronJob = 52;

const dnsName = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const labelName = /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;

function isTestName(text: string): boolean {
  if (!isLabelTest(text)) return dnsLabel.test(text) && text.length <= longestCronJob;
  const [name = '', domain, ...more] = text.split('/').toReversed();
  return more.length === 0 && labelName.test(name) && (domain === undefined || dnsName.test(domain));
}

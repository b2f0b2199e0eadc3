/** Nothing is to be done for an alert, and that is no failure: it is answered 200 with the reason, which is the message. */
export class Ignored extends Error {
  override readonly name = 'Ignored';
  /** What the alert was about is over, so that nothing is cordoned on its account any more. */
  readonly isOver: boolean;

  constructor(message: string, { isOver = false, cause }: { isOver?: boolean; cause?: unknown } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.isOver = isOver;
  }
}

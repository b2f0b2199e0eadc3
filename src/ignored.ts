/**
 * Thrown when an alert needs no action, which is not a failure. The answer is 200 with `message`, which says why.
 */
export class Ignored extends Error {
  override readonly name = 'Ignored';
  /** The problem that the alert reported is over, so that no node needs to stay cordoned because of it. */
  readonly isOver: boolean;

  constructor(message: string, { isOver = false, cause }: { isOver?: boolean; cause?: unknown } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.isOver = isOver;
  }
}

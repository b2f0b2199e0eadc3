/** Nothing is to be done for an alert, and that is no failure: it is answered 200 with the reason, which is the message. */
export class Ignored extends Error {
  override readonly name = 'Ignored';
}

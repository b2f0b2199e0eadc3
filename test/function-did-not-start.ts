/** The function's process ended before it listened; it has said why. */
export class FunctionDidNotStart extends Error {
  override readonly name = 'FunctionDidNotStart';

  constructor() {
    super('the function did not start; its last lines say why');
  }
}

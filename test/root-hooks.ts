// The run fails on each error that nobody chose: an `internal` answer, or a line of the log with that code, is a bug, also where
// the test asserts something else. A test that makes one on purpose says so with `expectInternalError()`.
//
// It sees this process only. It sees what is written as JSON here: each line of the log and each answer of the handler is, and
// so are the answers that `VirtualFailover` gives in the handler's place. It does not see a function that runs in a child
// process (index.test.ts, build.test.ts, alert-entry-points.test.ts and alert-gcloud.test.ts start such ones), nor an error that
// arrives after the last test of its file.
//
// It also fails where a world of the scenarios or of the fault tables broke a promise of simulation/promises.ts, whatever the test
// asserts. A test in which one is broken on purpose, because a person insists, says so with `expectBroken()`.
//
// It also fails where the tests leave a variable of this process behind: the next file in the same process would start its
// functions with it. With several jobs Mocha calls the hooks for each file, so that the failure names the file.
import { findChanges } from './fixtures/environment.ts';
import { internalErrors } from './fixtures/internal-errors.ts';
import { assertPromises } from './fixtures/promise-watch.ts';

const { stringify } = JSON;
let environment: Record<string, string | undefined> = {};

/** The log takes whatever writer a test gives it, so the one place that no test can leave out is where its lines are made. */
function watchedStringify(...parameters: Parameters<typeof stringify>): string {
  const [value] = parameters as [unknown];
  if (isInternal(value)) internalErrors().seen.push(stringify(value));
  return stringify(...parameters);
}

function isInternal(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { code, severity, event, error, id } = value as Record<string, unknown>;
  const isLine = severity !== undefined && event !== undefined;
  const isAnswer = id !== undefined && error !== undefined;
  return code === 'internal' && (isLine || isAnswer);
}

export const mochaHooks = {
  beforeAll() {
    JSON.stringify = watchedStringify as typeof stringify;
    environment = { ...process.env };
  },
  afterEach() {
    try {
      assertExpected();
    } finally {
      assertPromises();
    }
  },
  // What came of the hooks after the last test.
  afterAll() {
    JSON.stringify = stringify;
    assertExpected();
    const left = findChanges(environment).join(', ');
    if (left !== '') throw new Error(`variables of this process were left behind: ${left}`);
  },
};

function assertExpected(): void {
  const state = internalErrors();
  const { seen, isExpected } = state;
  state.seen = [];
  state.isExpected = false;
  if (isExpected && seen.length === 0) throw new Error('the test expects an internal error, but none came');
  if (!isExpected && seen.length > 0) throw new Error(`an error that nobody chose: ${seen.join('\n')}`);
}

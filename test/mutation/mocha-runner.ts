// Stryker's test runner for this project. Stryker's own one for Mocha asks for files that Mocha 12 has no more, and it believes
// each failing test; see `mutantRun` for what this one asks for before it believes one.
import { declareClassPlugin, PluginKind, tokens, commonTokens } from '@stryker-mutator/api/plugin';
import {
  INSTRUMENTER_CONSTANTS,
  type InstrumenterContext,
  type StrykerOptions,
} from '@stryker-mutator/api/core';
import {
  determineHitLimitReached,
  DryRunStatus,
  MutantRunStatus,
  TestStatus,
  toMutantRunResult,
  type DryRunOptions,
  type DryRunResult,
  type MutantRunOptions,
  type MutantRunResult,
  type TestResult,
  type TestRunner,
} from '@stryker-mutator/api/test-runner';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import Mocha from 'mocha';

type Loading = 'runtime' | 'static';

/** Without a mutant no test that is run here takes more than a few seconds, however busy the machine. */
const testLimit = 15_000;
const mostTests = 100;

class MochaRunner implements TestRunner {
  static inject = tokens(commonTokens.options);
  private readonly files: string[];
  private readonly ownTests: string;
  private readonly own = new Set<string>();
  private readonly context: InstrumenterContext;
  private noticing: string[] = [];
  private mocha: Mocha | undefined;
  private mutantsRun = 0;
  private isSpoiled = false;

  constructor(options: StrykerOptions) {
    this.files = options['unitFiles'] as string[];
    this.ownTests = resolve(options['ownTests'] as string);
    const known = globalThis as unknown as Record<string, InstrumenterContext>;
    this.context = known[INSTRUMENTER_CONSTANTS.NAMESPACE] ??= {};
  }

  /** A module that is imported stays, so Stryker starts a new process for a mutant that works while files are loaded. */
  capabilities() {
    return { reloadEnvironment: false };
  }

  async dryRun({ coverageAnalysis, disableBail }: DryRunOptions): Promise<DryRunResult> {
    const isPerTest = coverageAnalysis === 'perTest';
    const mocha = await this.load('runtime', undefined);
    const result = await this.runTests(mocha, !disableBail, isPerTest);
    const { mutantCoverage } = this.context;
    if (result.status !== DryRunStatus.Complete || !mutantCoverage) return result;
    return { ...result, mutantCoverage };
  }

  /**
   * A failing test counts only if it passes again, in this process, without the mutant. If it does not, then something before
   * has spoiled the process: it ends, and Stryker runs the mutant again in a new one. There, the first mutant is believed.
   */
  async mutantRun(options: MutantRunOptions): Promise<MutantRunResult> {
    if (this.isSpoiled) process.exit(1);
    this.mutantsRun += 1;
    const { activeMutant, mutantActivation, hitLimit, disableBail, testFilter } = options;
    const mocha = await this.load(mutantActivation, activeMutant.id);
    this.limitHits(hitLimit);
    this.context.activeMutant = activeMutant.id;
    let result: MutantRunResult | undefined;
    for (const tests of this.inOrder(testFilter)) {
      chooseTests(mocha, tests);
      const ran = await this.runTests(mocha, !disableBail, false);
      const limit = determineHitLimitReached(this.context.hitCount, this.context.hitLimit);
      result = toMutantRunResult(limit ?? ran);
      if (result.status !== MutantRunStatus.Survived) break;
    }
    if (!result) throw new Error('a mutant was to be tried by no test');
    if (result.status === MutantRunStatus.Killed && mutantActivation === 'runtime' && !this.isSpoiled) {
      await this.assertPassesWithout(mocha, result.killedBy);
    }
    return result;
  }

  private async assertPassesWithout(mocha: Mocha, tests: string[]): Promise<void> {
    chooseTests(mocha, tests);
    this.limitHits(undefined);
    delete this.context.activeMutant;
    const again = await this.runTests(mocha, true, false);
    const isFine =
      again.status === DryRunStatus.Complete &&
      again.tests.every(({ status }) => status !== TestStatus.Failed);
    if (isFine) return;
    if (this.mutantsRun > 1) process.exit(1);
    this.isSpoiled = true;
  }

  private limitHits(limit: number | undefined): void {
    delete this.context.hitLimit;
    delete this.context.hitCount;
    if (limit !== undefined) Object.assign(this.context, { hitLimit: limit, hitCount: 0 });
  }

  private async load(loading: Loading, mutant: string | undefined): Promise<Mocha> {
    if (this.mocha) return this.mocha;
    if (loading === 'static' && mutant !== undefined) this.context.activeMutant = mutant;
    const { mochaHooks } = (await import(pathToFileURL(resolve('test/root-hooks.ts')).href)) as {
      mochaHooks: Mocha.RootHookObject;
    };
    const mocha = new Mocha({ timeout: testLimit, rootHooks: mochaHooks });
    mocha.cleanReferencesAfterRun(false);
    for (const file of this.files) mocha.addFile(resolve(file));
    await mocha.loadFilesAsync();
    mocha.suite.eachTest((test) => {
      if (test.file?.startsWith(this.ownTests)) this.own.add(test.fullTitle());
    });
    this.mocha = mocha;
    return mocha;
  }

  /** What noticed the mutants before this one, which mostly stand near it, is likely to notice it: it runs first. */
  private inOrder(titles: string[] | undefined): (string[] | undefined)[] {
    if (!titles) return [undefined];
    const covering = new Set(titles);
    const first = this.noticing.filter((title) => covering.has(title)).slice(0, 8);
    for (const title of first) covering.delete(title);
    const [own, others] = [
      [...covering].filter((title) => this.own.has(title)),
      [...covering.difference(this.own)],
    ];
    const groups = [first, own, thinOut(others)].filter((group) => group.length > 0);
    return groups.length > 0 ? groups : [[]];
  }

  private async runTests(mocha: Mocha, isBailing: boolean, isPerTest: boolean): Promise<DryRunResult> {
    setBail(mocha.suite, isBailing);
    const tests: TestResult[] = [];
    await new Promise<void>((done) => {
      // This reporter writes nothing: Stryker hears of each test by the runner's events.
      const runner = mocha.reporter(Mocha.reporters.Base).run(() => done());
      runner.on('test', (test) => {
        if (isPerTest) this.context.currentTestId = test.fullTitle();
      });
      runner.on('pass', (test) => {
        tests.push({ ...describeTest(test), status: TestStatus.Success });
      });
      runner.on('fail', (test, error: NodeJS.ErrnoException) => {
        // What hangs goes on hanging, beside the tests that follow.
        this.isSpoiled ||= error.code === 'ERR_MOCHA_TIMEOUT';
        tests.push({
          ...describeTest(testOf(test)),
          status: TestStatus.Failed,
          failureMessage: String(error),
        });
      });
    });
    return { status: DryRunStatus.Complete, tests };
  }
}

function chooseTests(mocha: Mocha, titles: string[] | undefined): void {
  const wanted = (titles ?? ['']).map((title) => (titles ? `^${RegExp.escape(title)}$` : title));
  mocha.grep(new RegExp(wanted.join('|')));
}

/**
 * A line that hundreds of tests reach is tried by all tests of its wing, and by a part of the others, spread over all: a mutant that
 * none of these notices would cost more than all others together. `MUTATION_TESTS=all` spares none, for the survivors.
 */
function thinOut(titles: string[]): string[] {
  if (process.env['MUTATION_TESTS'] === 'all' || titles.length <= mostTests) return titles;
  return Array.from(
    { length: mostTests },
    (_one, index) => titles[Math.floor((index * titles.length) / mostTests)] ?? '',
  );
}

/** A hook fails in the name of the test that it is for. */
function testOf(runnable: Mocha.Runnable): Mocha.Runnable {
  return (runnable instanceof Mocha.Hook ? runnable.ctx?.currentTest : undefined) ?? runnable;
}

function describeTest(test: Mocha.Runnable) {
  const name = test.fullTitle();
  return {
    id: name,
    name,
    timeSpentMs: test.duration ?? 0,
    ...(test.file !== undefined && { fileName: test.file }),
  };
}

function setBail(suite: Mocha.Suite, isBailing: boolean): void {
  suite.bail(isBailing);
  for (const inner of suite.suites) setBail(inner, isBailing);
}

export const strykerPlugins = [declareClassPlugin(PluginKind.TestRunner, 'mocha-12', MochaRunner)];

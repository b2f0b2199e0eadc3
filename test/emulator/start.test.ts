import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify, stripVTControlCharacters } from 'node:util';
import { expect } from 'chai';
import { toHumanLines } from '../fixtures/terminal-log.ts';

const execute = promisify(execFile);

describe('npm start', function () {
  let directory: string;
  let child: ChildProcess;
  let printed: string;

  beforeEach(() => {
    printed = '';
    // With a space, as some people's folders have.
    directory = mkdtempSync(join(tmpdir(), 'npm start '));
    child = start({ PORT: '0' });
  });
  afterEach(() => {
    child.kill('SIGKILL');
    rmSync(directory, { recursive: true });
  });

  it('prints lines that work when they are pasted, and then its log as JSON into a pipe', async function () {
    if ((await execute('which', ['kubectl']).catch(() => undefined)) === undefined) {
      console.log('  not run: kubectl is not installed');
      this.skip();
    }
    const pasted = await usage();
    const { stdout } = await execute('bash', ['-euc', pasted]);
    expect(stdout).to.match(/gke-tpu-\S+ +Ready .* slice-a\n/);
    expect(stdout).to.match(/pod\/train-workers-0-0-\S+ +1\/1 +Running/);
    expect(stdout).to.match(/^cluster /m);
    expect(stdout).to.include('"outcome":"would_restart"').and.include('"outcome":"restarted"');
    expect(stdout).to.match(/^node\/gke-tpu-\S+ patched$/m);
    expect(stdout).to.match(/FailoverActionSucceeded/);
    expect(stdout).to.include('"step":"repair"').and.include('"step":"uncordon"');
    const switches = [...pasted.matchAll(/^turn_on (\S+)$/gm)].map(([, name]) => name);
    expect(switches).to.have.length(19);
    expect(stdout).to.include(`${JSON.stringify({ on: switches })}\n{"on":[]}\n`);
    await printedText(/"event":"done".*"type":"uncordon_nodepool"/);
    const log = printed.split('Ctrl-C ends it.')[1]?.trim().split('\n') ?? [];
    for (const line of log) expect(JSON.parse(line)).to.include.keys('severity', 'message');
  });

  it('says that its function has ended, ends too, and leaves nothing behind', async () => {
    await usage();
    const { stdout } = await execute('pgrep', ['-P', String(child.pid)]);
    process.kill(Number(stdout), 'SIGKILL');
    expect(await once(child, 'close')).to.deep.equal([1, null]);
    expect(printed).to.match(/^the function ended \(SIGKILL\)$/m);
    expect(readdirSync(directory)).to.deep.equal([]);
  });

  it('ends on Ctrl-C and leaves nothing behind', async () => {
    await usage();
    expect(readdirSync(directory)).to.have.length(1);
    child.kill('SIGINT');
    expect(await once(child, 'close')).to.deep.equal([0, null]);
    expect(readdirSync(directory)).to.deep.equal([]);
  });

  it('prints a path with a space so that a shell can read it', async () => {
    const [line = ''] = (await usage()).split('\n');
    const { stdout } = await execute('bash', ['-euc', `${line}; printf %s "$KUBECONFIG"`]);
    expect(stdout).to.include(directory);
    expect(existsSync(stdout), stdout).to.equal(true);
  });

  for (const port of ['abc', '65536', '-1', '80.5']) {
    it(`says which ports there are when PORT is ${port}`, async () => {
      child.kill('SIGKILL');
      printed = '';
      child = start({ PORT: port });
      expect(await once(child, 'close')).to.deep.equal([1, null]);
      expect(printed).to.equal(`PORT must be a number from 0 to 65535, not ${port}\n`);
    });
  }

  function start(environment: Record<string, string>): ChildProcess {
    const started = spawn(process.execPath, [join(import.meta.dirname, 'start.ts')], {
      env: { ...process.env, TMPDIR: directory, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [started.stdout, started.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        if (started === child) printed += text;
      });
    }
    return started;
  }

  async function usage(): Promise<string> {
    const [, lines = ''] = await printedText(/To paste:\n\n([^]+?)\n\nThe function's log/);
    return lines.replaceAll(/^ {2}/gm, '');
  }

  async function printedText(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(printed);
      if (found) return found;
      if (child.exitCode !== null) throw new Error(`it has ended: ${printed}`);
      await Promise.race([once(child.stdout ?? child, 'data'), once(child, 'exit')]);
    }
  }
});

describe("the function's log on a terminal", () => {
  const time = new Date(2026, 10, 27, 3, 38, 17);
  const action = { severity: 'INFO', action_id: 'incident-42', type: 'cordon_nodepool', dry_run: false };
  const toText = (line: object): string[] =>
    toHumanLines(JSON.stringify(line), time).map((text) => stripVTControlCharacters(text));
  const cordon = { step: 'cordon', target: 'slice-a', nodes: 16, cordoned: 16, already_cordoned: 0 };

  const lines: [what: string, line: object, expected: string[]][] = [
    [
      'an action that was received',
      { ...action, event: 'received', message: 'cordon_nodepool from me: trying it' },
      ['03:38:17 incident-42 cordon_nodepool from me: trying it'],
    ],
    [
      'a dry run that was received',
      { ...action, event: 'received', message: 'cordon_nodepool from me: trying it', dry_run: true },
      ['03:38:17 incident-42 cordon_nodepool from me: trying it (dry run)'],
    ],
    [
      'a cordon',
      { ...action, event: 'step', message: 'cordon done', step: 'cordon', duration_ms: 31, result: cordon },
      ['03:38:17 incident-42 cordon slice-a: 16 nodes cordoned (31 ms)'],
    ],
    [
      'an uncordon',
      { ...action, event: 'step', duration_ms: 7, result: { step: 'uncordon', target: 'a', uncordoned: 3 } },
      ['03:38:17 incident-42 uncordon a: 3 nodes uncordoned (7 ms)'],
    ],
    [
      'a restart',
      {
        ...action,
        event: 'step',
        duration_ms: 20,
        result: { step: 'restart', target: 'default/train', outcome: 'not_on_pool' },
      },
      ['03:38:17 incident-42 restart default/train: not on pool (20 ms)'],
    ],
    ['a step that only reads', { ...action, event: 'step', message: 'read done', step: 'read' }, []],
    [
      'a step that was stopped',
      { ...action, severity: 'WARNING', event: 'step', step: 'read', duration_ms: 5, error: 'no nodes' },
      ['03:38:17 incident-42 read stopped (5 ms)'],
    ],
    [
      'the end',
      {
        ...action,
        event: 'done',
        message: 'cordon_nodepool done',
        status: 200,
        duration_ms: 362,
        steps: [cordon],
      },
      ['03:38:17 incident-42 cordon_nodepool done: 200 (362 ms)'],
    ],
    [
      'the end of a dry run, with what it would do',
      {
        ...action,
        event: 'done',
        message: 'cordon_nodepool done',
        dry_run: true,
        status: 200,
        duration_ms: 38,
        steps: [{ ...cordon, outcome: 'would_cordon' }],
      },
      [
        '03:38:17 incident-42 cordon slice-a: would cordon',
        '03:38:17 incident-42 cordon_nodepool done (dry run): 200 (38 ms)',
      ],
    ],
    [
      'a refusal',
      {
        ...action,
        severity: 'WARNING',
        event: 'refused',
        message: 'paused by bob',
        status: 409,
        code: 'paused',
      },
      ['03:38:17 incident-42 paused by bob: 409 paused'],
    ],
    [
      'an error that nobody expected, with its stack',
      { severity: 'ERROR', event: 'failed', message: 'internal error', status: 500, stack_trace: 'Error: x' },
      ['03:38:17 internal error: 500', '03:38:17 Error: x'],
    ],
  ];
  for (const [what, line, expected] of lines) {
    it(`shows ${what}`, () => expect(toText(line)).to.deep.equal(expected));
  }

  it('shows text that is not JSON as it is', () =>
    expect(toHumanLines('Serving function...', time)).to.deep.equal(['Serving function...']));
});

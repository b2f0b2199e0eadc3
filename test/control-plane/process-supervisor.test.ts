import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { eventually } from './eventually.ts';
import { superviseProcesses } from './process-supervisor.ts';
import type { Program } from './process-supervisor.ts';

const supervisorScript = join(import.meta.dirname, 'process-supervisor.ts');

describe('superviseProcesses', () => {
  let directory: string;
  let parents: ChildProcess[];
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'process-supervisor-test-'));
    parents = [];
  });
  afterEach(() => {
    for (const parent of parents) parent.kill('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  });

  it('kills the programs and removes the directory when it is stopped', async () => {
    const supervisor = superviseProcesses(directory);
    supervisor.start(sleeper('one'));
    supervisor.start(sleeper('two'));
    const pids = [await pidOf('one'), await pidOf('two')];
    expect(pids.every(isRunning)).to.equal(true);
    await supervisor.stop();
    expect(pids.some(isRunning)).to.equal(false);
    expect(existsSync(directory)).to.equal(false);
    await supervisor.stop();
  });

  it('kills one program, tells that it has ended, and starts it anew', async () => {
    const supervisor = superviseProcesses(directory);
    const exits: string[] = [];
    supervisor.onExit(({ name, outcome }) => exits.push(`${name}: ${outcome}`));
    supervisor.start(sleeper('one'));
    supervisor.start(sleeper('two'));
    const [one, two] = [await pidOf('one'), await pidOf('two')];
    supervisor.kill('one');
    await eventually('it has ended', () => exits.length > 0);
    expect(exits).to.deep.equal(['one: SIGKILL']);
    expect([isRunning(one), isRunning(two)]).to.deep.equal([false, true]);
    supervisor.start(sleeper('one'));
    await eventually('it runs again', async () => (await pidOf('one')) !== one);
    await supervisor.stop();
  });

  for (const signal of ['SIGKILL', 'SIGTERM', 'SIGINT'] as const) {
    it(`leaves nothing behind when the process that started it gets ${signal}`, async () => {
      const { parent, pids } = await startInAnotherProcess();
      parent.kill(signal);
      await eventually('everything is gone', () => !pids.some(isRunning) && !existsSync(directory));
    });
  }

  it('leaves nothing behind when the process that started it throws', async () => {
    const { parent, pids } = await startInAnotherProcess();
    parent.stdin?.end('throw');
    await once(parent, 'exit');
    await eventually('everything is gone', () => !pids.some(isRunning) && !existsSync(directory));
  });

  it("leaves nothing behind when the supervisor's process is killed", async () => {
    const { pids, supervisorPid } = await startInAnotherProcess();
    process.kill(supervisorPid, 'SIGKILL');
    await eventually('everything is gone', () => !pids.some(isRunning) && !existsSync(directory));
  });

  it('leaves no process behind when both are killed at once, if the kernel supports it', async function () {
    if (process.platform !== 'linux') this.skip();
    const { parent, pids, supervisorPid } = await startInAnotherProcess();
    process.kill(supervisorPid, 'SIGSTOP');
    parent.kill('SIGKILL');
    process.kill(supervisorPid, 'SIGKILL');
    await eventually('the programs are gone', () => !pids.some(isRunning));
  });

  it('reports which program ended by itself, and how', async () => {
    const supervisor = superviseProcesses(directory);
    const exit = new Promise((resolve) => supervisor.onExit(resolve));
    supervisor.start({ name: 'short', command: 'sh', args: ['-c', 'echo some output; exit 3'] });
    expect(await exit).to.deep.equal({ name: 'short', outcome: 'exit code 3' });
    expect(readFileSync(join(directory, 'short.log'), 'utf8')).to.equal('some output\n');
    await supervisor.stop();
  });

  it('reports a program that does not exist', async () => {
    const supervisor = superviseProcesses(directory);
    const exit = new Promise<{ name: string; outcome: string }>((resolve) => supervisor.onExit(resolve));
    supervisor.start({ name: 'none', command: join(directory, 'none'), args: [] });
    // `setpriv` finds it missing where there is one, node itself elsewhere.
    expect((await exit).outcome).to.match(/ENOENT|exit code 127/);
    await supervisor.stop();
  });

  it('does not keep alive a process that forgot to stop it', async () => {
    const { parent, pids } = await startInAnotherProcess();
    parent.stdin?.end();
    const [code] = (await once(parent, 'exit')) as [number];
    expect(code).to.equal(0);
    await eventually('everything is gone', () => !pids.some(isRunning) && !existsSync(directory));
  });

  /** A parent with two programs; it runs until its standard input ends, or throws what it reads there. */
  async function startInAnotherProcess(): Promise<{
    parent: ChildProcess;
    pids: number[];
    supervisorPid: number;
  }> {
    const script = `
      import { superviseProcesses } from ${JSON.stringify(supervisorScript)};
      const supervisor = superviseProcesses(${JSON.stringify(directory)});
      supervisor.start(${JSON.stringify(sleeper('one'))});
      supervisor.start(${JSON.stringify(sleeper('two'))});
      process.stdin.on('data', (text) => { throw new Error(String(text)); }).resume();
    `;
    const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['pipe', 'inherit', 'ignore'],
    });
    parents.push(parent);
    const pids = [await pidOf('one'), await pidOf('two')];
    const supervisorPid = Number(readFileSync(join(directory, 'one.parent'), 'utf8'));
    return { parent, pids, supervisorPid };
  }

  function sleeper(name: string): Program {
    const script = `echo $PPID > ${name}.parent; echo $$ > ${name}.new; mv ${name}.new ${name}.pid; exec sleep 600`;
    return { name, command: 'sh', args: ['-c', script] };
  }

  async function pidOf(name: string): Promise<number> {
    const path = join(directory, `${name}.pid`);
    return eventually(`program ${name} runs`, () => existsSync(path) && Number(readFileSync(path, 'utf8')));
  }
});

/** A zombie has ended; init still has to read its exit code. */
function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return process.platform !== 'linux';
  }
}

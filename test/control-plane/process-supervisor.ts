/**
 * Keeps programs that must not outlive the one who started them. They are children of a process of their own, the
 * supervisor, which ends them, removes their directory and goes when its standard input ends: that happens however its
 * parent ends, SIGKILL included. Where the supervisor itself is killed, the parent notices, and on Linux the kernel does.
 */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { openSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export interface Program {
  name: string;
  command: string;
  args: string[];
}

export interface ProcessSupervisor {
  /** Starts a program in the directory; what it prints goes to `<name>.log` there. */
  start(program: Program): void;
  /** Ends a program at once, as a machine that fails does. `onExit` tells when it has ended. */
  kill(name: string): void;
  /** Calls the listener if a program ends before `stop`, with its outcome. */
  onExit(listener: (exit: ProgramExit) => void): void;
  /** Kills everything and removes the directory. Safe to repeat. */
  stop(): Promise<void>;
}

export interface ProgramExit {
  name: string;
  outcome: string;
}

/** Starts a supervisor for `directory`, which it removes at the end. It does not keep the calling process alive. */
export function superviseProcesses(directory: string): ProcessSupervisor {
  const listeners: ((exit: ProgramExit) => void)[] = [];
  // In a session of its own, so that Ctrl-C in a terminal reaches only this process.
  const supervisor = spawn(process.execPath, [import.meta.filename, directory], {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
  });
  const supervisorGone = new Promise<void>((resolve) => {
    supervisor.once('error', () => resolve());
    supervisor.once('exit', () => resolve());
  });
  const cleanUp = async (): Promise<void> => {
    await supervisorGone;
    killGroup(supervisor);
    await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  };
  const ended = cleanUp();
  createInterface(supervisor.stdout).on('line', (line) => {
    for (const listener of listeners) listener(JSON.parse(line) as ProgramExit);
  });
  // A write to a supervisor that is gone fails. `ended` reports that.
  supervisor.stdin.on('error', () => {});
  for (const handle of [supervisor, supervisor.stdin, supervisor.stdout]) {
    (handle as unknown as { unref(): void }).unref();
  }
  return {
    start: (program) => void supervisor.stdin.write(`${JSON.stringify(program)}\n`),
    kill: (name) => void supervisor.stdin.write(`${JSON.stringify({ kill: name })}\n`),
    onExit: (listener) => void listeners.push(listener),
    async stop() {
      supervisor.ref();
      supervisor.stdin.end();
      await ended;
    },
  };
}

/** Kills the group of the supervisor and its programs. The group's number is not reused while one of them lives. */
function killGroup(supervisor: ChildProcess): void {
  try {
    if (supervisor.pid !== undefined) process.kill(-supervisor.pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** The supervisor's own process: one line of JSON on standard input is one program to start or to kill. */
function runSupervisor(directory: string): void {
  const running = new Map<ChildProcess, { name: string; gone: Promise<void> }>();
  let ending = false;
  const diesWithParent = ['setpriv', '--pdeathsig', 'KILL'] as const;
  const canDieWithParent = spawnSync(diesWithParent[0], [...diesWithParent.slice(1), 'true']).status === 0;

  const start = ({ name, command, args }: Program): void => {
    const log = openSync(join(directory, `${name}.log`), 'a');
    const [file = command, ...rest] = [...(canDieWithParent ? diesWithParent : []), command, ...args];
    const child = spawn(file, rest, { cwd: directory, stdio: ['ignore', log, log] });
    const gone = new Promise<void>((resolve) => {
      const report = (outcome: string): void => {
        running.delete(child);
        if (!ending) process.stdout.write(`${JSON.stringify({ name, outcome } satisfies ProgramExit)}\n`);
        resolve();
      };
      child.once('error', (error) => report(error.message));
      child.once('exit', (code, signal) => report(signal === null ? `exit code ${code}` : signal));
    });
    running.set(child, { name, gone });
  };
  const kill = (name: string): void => {
    for (const [child, each] of running) if (each.name === name) child.kill('SIGKILL');
  };
  const end = async (): Promise<void> => {
    if (ending) return;
    ending = true;
    const gone = [...running.values()].map((each) => each.gone);
    for (const child of running.keys()) child.kill('SIGKILL');
    await Promise.all(gone);
    await rm(directory, { recursive: true, force: true, maxRetries: 5 });
    process.exit(0);
  };

  process.stdout.on('error', () => void end());
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void end());
  createInterface(process.stdin)
    .on('line', (line) => {
      const order = JSON.parse(line) as Program | { kill: string };
      if ('kill' in order) kill(order.kill);
      else start(order);
    })
    .on('close', () => void end());
}

if (import.meta.main) runSupervisor(process.argv[2] ?? '');

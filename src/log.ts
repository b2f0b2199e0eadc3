import { inspect } from 'node:util';
import { Ignored } from './ignored.ts';
import { summarise } from './step.ts';
import type { Step } from './step.ts';

/** The fields of one log line. A field that is `undefined` is left out. */
export type LogFields = Record<string, unknown>;

/** Writes structured lines. `with` returns a log that adds these fields to each line. */
export interface Log {
  info(event: string, message: string, fields?: LogFields): void;
  warn(event: string, message: string, fields?: LogFields): void;
  error(event: string, message: string, fields?: LogFields): void;
  with(fields: LogFields): Log;
}

/**
 * Writes one line. Cloud Logging reads one JSON object on one line as one entry; two objects in one write would become
 * text.
 */
export type WriteLine = (line: string) => void;

/** Creates a log whose lines have Cloud Logging's special fields, `severity` and `message`. */
export function createLog(write: WriteLine = writeToStdout, bound: LogFields = {}): Log {
  const line =
    (severity: string) =>
    (event: string, message: string, fields: LogFields = {}) => {
      write(`${JSON.stringify({ severity, message, event, ...bound, ...fields })}\n`);
    };
  return {
    info: line('INFO'),
    warn: line('WARNING'),
    error: line('ERROR'),
    with: (fields) => createLog(write, { ...bound, ...fields }),
  };
}

function writeToStdout(line: string): void {
  process.stdout.write(line);
}

/**
 * Returns the fields that make Cloud Logging show a line under its request. They come from the header
 * `X-Cloud-Trace-Context`, else from `traceparent`. Without a project id there are none.
 */
export function toTraceFields(
  header: (name: string) => string | undefined,
  projectId: string | undefined,
): LogFields {
  const cloud = /^([0-9a-f]{32})(?:\/(\d{1,20}))?/.exec(header('x-cloud-trace-context') ?? '');
  const w3c = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-/.exec(header('traceparent') ?? '');
  const traceId = cloud?.[1] ?? w3c?.[1];
  if (!traceId || !projectId) return {};
  const spanId = w3c?.[2] ?? (cloud?.[2] ? BigInt(cloud[2]).toString(16).padStart(16, '0') : undefined);
  return {
    'logging.googleapis.com/trace': `projects/${projectId}/traces/${traceId}`,
    ...(spanId ? { 'logging.googleapis.com/spanId': spanId } : {}),
  };
}

/**
 * Returns the log fields of an error: our own text, and the name, message and status of at most five causes. Headers and
 * bodies are left out, because they may hold tokens.
 */
export function describeError(error: unknown): LogFields {
  const causes: string[] = [];
  let current: unknown = error instanceof Error ? error.cause : undefined;
  while (current !== undefined && current !== null && causes.length < 5) {
    causes.push(redact(describeCause(current)));
    current = current instanceof Error ? current.cause : undefined;
  }
  return {
    error: redact(error instanceof Error ? error.message : describeCause(error)),
    ...(causes.length > 0 ? { causes } : {}),
  };
}

/** Returns the stack of an unexpected error, with tokens replaced. */
export function describeStack(thrown: unknown): string {
  return redact(thrown instanceof Error ? (thrown.stack ?? thrown.message) : describeCause(thrown));
}

function describeCause(cause: unknown): string {
  if (cause instanceof Error) {
    const { code } = cause as { code?: string | number };
    return `${cause.name}${code === undefined ? '' : ` ${code}`}: ${cause.message.slice(0, 500)}`;
  }
  if (typeof cause === 'string') return cause.slice(0, 600);
  try {
    return (JSON.stringify(cause) ?? inspect(cause)).slice(0, 600);
  } catch {
    return inspect(cause, { depth: 1 }).slice(0, 600);
  }
}

/** Replaces tokens: authorization headers, Google's access tokens, and JSON Web Tokens with or without their signature. */
function redact(text: string): string {
  return text
    .replaceAll(/\b(Bearer|Basic)\s+[\w.~+/=-]+/gi, '$1 ***')
    .replaceAll(/\bya29\.[\w.-]+/g, '***')
    .replaceAll(/\beyJ[\w-]{5,}\.[\w-]+(\.[\w-]*)?/g, '***');
}

/** Runs a step and logs its duration, and its result or its error. It throws what `work` throws. */
export async function timed<T>(log: Log, step: string, work: () => Promise<T>): Promise<T> {
  const startedAt = performance.now();
  const duration = () => ({ step, duration_ms: Math.round(performance.now() - startedAt) });
  try {
    const result = await work();
    const what = isStep(result) ? summarise([result]) : `${step} done`;
    log.info('step', what, { ...duration(), ...(isStep(result) ? { result } : {}) });
    return result;
  } catch (error) {
    const fields = { ...duration(), ...describeError(error) };
    if (error instanceof Ignored) log.info('step', `${step} stopped`, fields);
    else log.warn('step', `${step} stopped`, fields);
    throw error;
  }
}

function isStep(value: unknown): value is Step {
  return typeof value === 'object' && value !== null && 'step' in value;
}

import { createHash } from 'node:crypto';
import * as v from 'valibot';
import { invalidAction } from '../errors.ts';
import { Ignored } from '../ignored.ts';
import { isObject } from '../request/fields.ts';
import { toPrintableText } from '../request/printable-text.ts';
import type { LogRule, LogRules } from './log-rules.ts';
import { incidentIdSchema, readNotification, unpack } from './notification.ts';
import type { Notification, Unpacked } from './notification.ts';

/**
 * Reads what was sent to `/alerts`: a notification, bare or in a push envelope, or a log entry in a push envelope.
 *
 * @throws {Ignored} for a log entry that no rule fits
 * @throws {FailoverError} `invalid_action` if it is none of these
 */
export function readAlert(body: unknown, rules: LogRules): Notification {
  const unpacked = unpack(body);
  return isLogEntry(unpacked.payload) ? readLogEntry(unpacked, rules) : readNotification(unpacked);
}

/** True if a message is an entry of Cloud Logging, as a log sink publishes it. */
function isLogEntry(payload: unknown): payload is Record<string, unknown> {
  return isObject(payload) && typeof payload['logName'] === 'string' && isObject(payload['resource']);
}

/**
 * Reads a log entry as the notification of an incident that begins at the entry's time and never closes. The first rule
 * that fits says what to do. The entry's `insertId` is the incident's id.
 *
 * @throws {Ignored} if no rule fits
 * @throws {FailoverError} `invalid_action` if the entry did not come by Pub/Sub, or has no time or id
 */
function readLogEntry({ payload, isPushed }: Unpacked, rules: LogRules): Notification {
  if (!isPushed) throw invalidAction('a log entry comes by a log sink and Pub/Sub only');
  const entry = v.safeParse(entrySchema, payload, { abortEarly: true });
  if (!entry.success) {
    const [{ path = [], message }] = entry.issues;
    throw invalidAction(`the log entry's ${path.map(({ key }) => String(key)).join('.')} ${message}`);
  }
  const { logName, insertId, timestamp, resource, labels, protoPayload } = entry.output;
  const logId = logIdOf(logName);
  const text = textOf(entry.output);
  const lowerCase = text.toLowerCase();
  const fits = ({ log, resourceType, contains, method }: LogRule): boolean =>
    logId === log &&
    resource.type === resourceType &&
    (method === undefined || protoPayload?.methodName === method) &&
    contains.every((part) => lowerCase.includes(part));
  const found = Object.entries(rules).find(([, rule]) => fits(rule));
  if (!found) throw new Ignored('no rule of LOG_RULES fits this log entry');
  const [id, rule] = found;
  // A sink may publish late, so the entry's own time says how old it is, and not the envelope's.
  const read = readNotification({
    isPushed,
    publishedAt: undefined,
    payload: {
      incident: {
        incident_id: v.is(incidentIdSchema, insertId) ? insertId : toId(entry.output),
        state: 'open',
        started_at: timestamp / 1000,
        policy_name: `log rule ${id}`,
        policy_user_labels: rule.labels,
        summary: toPrintableText(rule.method ?? text, 512),
        condition_name: `log rule ${id}`,
        resource_display_name:
          labels?.['compute.googleapis.com/resource_name'] ?? machineNameOf(protoPayload?.resourceName),
        resource: { type: resource.type, labels: resource.labels },
      },
    },
  });
  return { ...read, isLogEntry: true };
}

/** An id for an entry whose own has other characters than an action's may have; the same on a redelivery. */
function toId({ logName, insertId, timestamp, resource }: v.InferOutput<typeof entrySchema>): string {
  const parts = JSON.stringify([logName, insertId, timestamp, resource]);
  return `log-${createHash('sha256').update(parts).digest('hex').slice(0, 32)}`;
}

/** The part of a log's name after `projects/P/logs/`, decoded. */
function logIdOf(logName: string): string | undefined {
  const encoded = /^projects\/[^/]+\/logs\/([^/]+)$/.exec(logName)?.[1];
  try {
    return encoded === undefined ? undefined : decodeURIComponent(encoded);
  } catch {
    return undefined;
  }
}

function textOf({ textPayload, jsonPayload }: v.InferOutput<typeof entrySchema>): string {
  return textPayload ?? jsonPayload?.message ?? jsonPayload?.MESSAGE ?? '';
}

/** An audit log's entry names its machine by its path. */
function machineNameOf(resourceName = ''): string | undefined {
  return /^projects\/[^/]+\/zones\/[^/]+\/instances\/([^/]+)$/.exec(resourceName)?.[1];
}

const textSchema = v.string('must be a string');

const entrySchema = v.object({
  logName: textSchema,
  insertId: textSchema,
  timestamp: v.pipe(
    textSchema,
    v.transform((text) => Date.parse(text)),
    v.finite('must be a time'),
  ),
  resource: v.object({ type: textSchema, labels: v.optional(v.record(v.string(), textSchema), {}) }),
  labels: v.optional(v.record(v.string(), textSchema)),
  textPayload: v.optional(textSchema),
  // Other programs put what they like here.
  jsonPayload: v.optional(
    v.object({
      message: v.fallback(v.optional(textSchema), undefined),
      MESSAGE: v.fallback(v.optional(textSchema), undefined),
    }),
  ),
  protoPayload: v.optional(
    v.object({
      methodName: v.optional(textSchema),
      resourceName: v.fallback(v.optional(textSchema), undefined),
    }),
  ),
});

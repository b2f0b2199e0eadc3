import * as v from 'valibot';
import { FailoverError, invalidAction } from '../errors.ts';

/** A Cloud Monitoring notification, unpacked and not checked yet. Every text in it is data that a workload may have written. */
export interface Notification {
  /** When it was published, in ms since the epoch; undefined for one that came by the webhook channel. */
  publishedAt: number | undefined;
  /** What "Send test notification" sends. */
  isTest: boolean;
  /** The incident's id, where it has a usable one. */
  incidentId: string | undefined;
  /** The `user_labels` of the alert policy. */
  policyLabels: Record<string, string>;
  incident: Record<string, unknown>;
}

/**
 * Says whether a body is a Pub/Sub push envelope, by its shape. Pub/Sub delivers what is not answered with success
 * again, however final the refusal.
 */
export function isPushEnvelope(body: unknown): boolean {
  return isObject(body) && !('incident' in body) && ('message' in body || 'subscription' in body);
}

/**
 * Unpacks a notification, bare or in a push envelope.
 *
 * @throws {FailoverError} `invalid_action` when it is none
 */
export function unpackNotification(body: unknown): Notification {
  const { payload, publishedAt } = isPushEnvelope(body)
    ? openEnvelope(body)
    : { payload: body, publishedAt: undefined };
  if (!isObject(payload) || !isObject(payload['incident'])) {
    throw invalidAction(
      'the body is no Cloud Monitoring notification (an object with "incident"), bare or in a Pub/Sub push envelope',
    );
  }
  const { incident, version } = payload;
  const { incident_id: id, policy_user_labels: labels } = incident;
  return {
    publishedAt,
    isTest: version === 'test',
    incidentId: v.is(incidentIdSchema, id) ? id : undefined,
    policyLabels: check(v.nullish(labelsSchema, {}), labels, 'incident.policy_user_labels'),
    incident,
  };
}

/** The parts of an incident that are read, checked. Times are ms since the epoch. */
export interface NotifiedIncident {
  id: string;
  state: string;
  startedAt: number;
  isRenotification: boolean;
  policyName: string;
  summary: string;
  resourceType: string;
  resourceLabels: Record<string, string>;
  conditionName: string;
  /** Such as the name of a VM. */
  displayName: string;
}

/** @throws {FailoverError} `invalid_action` naming what is missing or ill-typed */
export function parseIncident({ incident }: Notification): NotifiedIncident {
  const fields = check(incidentSchema, incident, 'incident');
  return {
    id: fields.incident_id,
    state: fields.state.toLowerCase(),
    startedAt: fields.started_at * 1000,
    isRenotification: fields.renotify ?? false,
    policyName: fields.policy_name ?? '',
    summary: fields.summary ?? '',
    resourceType: fields.resource?.type ?? '',
    resourceLabels: fields.resource?.labels ?? {},
    conditionName: fields.condition_name ?? '',
    displayName: fields.resource_display_name ?? '',
  };
}

function openEnvelope(body: unknown): { payload: unknown; publishedAt: number | undefined } {
  const { message } = check(envelopeSchema, body, '');
  const publishTime = message.publishTime ?? message.publish_time;
  const publishedAt = publishTime === undefined ? NaN : Date.parse(publishTime);
  try {
    const payload = JSON.parse(Buffer.from(message.data, 'base64').toString('utf8')) as unknown;
    return { payload, publishedAt: Number.isFinite(publishedAt) ? publishedAt : undefined };
  } catch (error) {
    throw new FailoverError('invalid_action', 'message.data is not JSON in base64', { cause: error });
  }
}

function check<const Schema extends v.GenericSchema>(
  schema: Schema,
  value: unknown,
  within: string,
): v.InferOutput<Schema> {
  const result = v.safeParse(schema, value, { abortEarly: true, abortPipeEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  const path = (issue.path ?? []).map(({ key }) => String(key).slice(0, 64));
  throw invalidAction(`${[...(within ? [within] : []), ...path].join('.')} ${issue.message}`);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const textSchema = v.string('must be a string');

/** It is the action's id, and `<id>.closed` must be one too. */
const incidentIdSchema = v.pipe(
  textSchema,
  v.regex(/^[A-Za-z0-9._-]{1,120}$/, 'must have 1 to 120 characters of A-Z a-z 0-9 . _ -'),
);

const labelsSchema = v.pipe(
  v.custom<Record<string, unknown>>(isObject, 'must be an object'),
  v.record(v.string(), v.string('must be a string')),
);

const envelopeSchema = v.object(
  {
    message: v.object(
      {
        data: v.pipe(textSchema, v.regex(/^[A-Za-z0-9+/_-]+={0,2}$/, 'must be base64')),
        publishTime: v.optional(textSchema),
        publish_time: v.optional(textSchema),
      },
      (issue) => describeObject(issue),
    ),
  },
  (issue) => describeObject(issue),
);

const incidentSchema = v.object(
  {
    incident_id: incidentIdSchema,
    state: textSchema,
    started_at: v.pipe(
      v.number('must be a number of seconds'),
      v.finite('must be a number of seconds'),
      v.minValue(0, 'must be a number of seconds since 1970'),
    ),
    renotify: v.nullish(v.boolean('must be true or false')),
    policy_name: v.nullish(textSchema),
    summary: v.nullish(textSchema),
    condition_name: v.nullish(textSchema),
    resource_display_name: v.nullish(textSchema),
    resource: v.nullish(
      v.object({ type: v.nullish(textSchema), labels: v.nullish(labelsSchema) }, (issue) =>
        describeObject(issue),
      ),
    ),
  },
  (issue) => describeObject(issue),
);

/** Valibot reports a missing key on the object that lacks it, with the key in the path. */
function describeObject({ input }: v.BaseIssue<unknown>): string {
  return input === undefined ? 'is missing' : 'must be an object';
}

import * as v from 'valibot';
import { FailoverError, invalidAction } from '../errors.ts';
import { isObject } from '../request/fields.ts';

/**
 * A Cloud Monitoring notification, unpacked but not checked yet. Treat every text in it as data: a workload may have
 * written it.
 */
export interface Notification {
  /** When Pub/Sub published it, in ms since the epoch; undefined if it came by the webhook channel. */
  publishedAt: number | undefined;
  /** True if it was made of a log entry, which nothing limits the rate of. */
  isLogEntry?: boolean;
  /** True for the notification that "Send test notification" sends. */
  isTest: boolean;
  /** The incident's id; undefined if it is missing or ill-formed. */
  incidentId: string | undefined;
  /** The `user_labels` of the alert policy. */
  policyLabels: Record<string, string>;
  /** Not checked: {@link parseIncident} does that. */
  incident: Record<string, unknown>;
}

/**
 * True if a body has the shape of a Pub/Sub push envelope: a message, and the full name of its subscription. Pub/Sub
 * delivers a message again until it gets a success, even after a final refusal. Nobody else may be told 200 for one.
 */
export function isPushEnvelope(body: unknown): boolean {
  const envelope = unwrapEvent(body);
  return (
    hasMessage(envelope) &&
    typeof envelope['subscription'] === 'string' &&
    /^projects\/[^/]+\/subscriptions\/[^/]+$/.test(envelope['subscription'])
  );
}

/** True if a body is for `/alerts`: a notification, bare or in a push envelope. */
export function isForAlerts(body: unknown): boolean {
  return isPushEnvelope(body) || (isObject(body) && isObject(body['incident']));
}

function hasMessage(envelope: unknown): envelope is Record<string, unknown> {
  return isObject(envelope) && !('incident' in envelope) && isObject(envelope['message']);
}

/** Eventarc can deliver the push envelope as the data of a CloudEvent (structured mode). */
function unwrapEvent(body: unknown): unknown {
  return isObject(body) && typeof body['specversion'] === 'string' ? body['data'] : body;
}

/** What was sent to `/alerts`, out of its envelope. */
export interface Unpacked {
  payload: unknown;
  /** When Pub/Sub published it, in ms since the epoch; undefined without an envelope. */
  publishedAt: number | undefined;
  /** True if it was in a push envelope. */
  isPushed: boolean;
}

/**
 * Takes a body out of its push envelope, if it is in one.
 *
 * @throws {FailoverError} `invalid_action` if the envelope's data is not JSON
 */
export function unpack(body: unknown): Unpacked {
  const envelope = unwrapEvent(body);
  if (!hasMessage(envelope)) return { payload: body, publishedAt: undefined, isPushed: false };
  return { ...openEnvelope(envelope), isPushed: true };
}

/**
 * Reads a notification of Cloud Monitoring.
 *
 * @throws {FailoverError} `invalid_action` if that is not what was sent
 */
export function readNotification({ payload, publishedAt }: Unpacked): Notification {
  if (!isObject(payload) || !isObject(payload['incident'])) {
    throw invalidAction(
      'the body is not a Cloud Monitoring notification (an object with "incident"), bare or in a Pub/Sub push envelope',
    );
  }
  const { incident, version } = payload;
  const { incident_id: id, policy_user_labels: labels } = incident;
  return {
    publishedAt,
    isTest: version === 'test',
    incidentId: v.is(incidentIdSchema, id) ? id : undefined,
    policyLabels: checkShape(v.nullish(labelsSchema, {}), labels, 'incident.policy_user_labels'),
    incident,
  };
}

/** The parts of an incident that the function reads, checked. Absent texts are `''`. */
export interface NotifiedIncident {
  id: string;
  /** In lower case. */
  state: string;
  /** In ms since the epoch. */
  startedAt: number;
  isRenotification: boolean;
  policyName: string;
  summary: string;
  resourceType: string;
  resourceLabels: Record<string, string>;
  conditionName: string;
  /** The resource's display name, such as the name of a VM. */
  displayName: string;
}

/**
 * Checks an incident.
 *
 * @throws {FailoverError} `invalid_action`, which names the field that is missing or of another type
 */
export function parseIncident({ incident }: Notification): NotifiedIncident {
  const fields = checkShape(incidentSchema, incident, 'incident');
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
  const { message } = checkShape(envelopeSchema, body, '');
  const publishTime = message.publishTime ?? message.publish_time;
  const publishedAt = publishTime === undefined ? NaN : Date.parse(publishTime);
  try {
    const text = Buffer.from(message.data, 'base64')
      .toString('utf8')
      .replace(/^\uFEFF/, '');
    const payload = JSON.parse(text) as unknown;
    return { payload, publishedAt: Number.isFinite(publishedAt) ? publishedAt : undefined };
  } catch (error) {
    throw new FailoverError('invalid_action', 'message.data is not JSON in base64', { cause: error });
  }
}

function checkShape<const Schema extends v.GenericSchema>(
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

const textSchema = v.string('must be a string');

/** An incident's id becomes the action's id, and `<id>.closed` must be a valid id too. */
export const incidentIdSchema = v.pipe(
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

/** For a missing key, Valibot asks the object that lacks it: `input` is then undefined, and the path ends with the key. */
function describeObject({ input }: v.BaseIssue<unknown>): string {
  return input === undefined ? 'is missing' : 'must be an object';
}

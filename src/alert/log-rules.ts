import * as v from 'valibot';
import { isObject } from '../request/fields.ts';

/** What one log entry asks for. docs/alerts.md describes the fields. */
export interface LogRule {
  /** The log, such as `serialconsole.googleapis.com/serial_port_1_output`. */
  log: string;
  /** The type of the entry's resource. */
  resourceType: LogResourceType;
  /** All of these are in the entry's text, in any case. */
  contains: string[];
  /** The method of an audit log's entry. */
  method: string | undefined;
  /** `failover_` labels, as on an alert policy. */
  labels: Record<string, string>;
}

/** By the rule's id. Where several rules fit an entry, the first one decides. */
export type LogRules = Record<string, LogRule>;

/**
 * The resources whose logs the machine or Google writes. What a container writes is left out, because any workload could
 * have machines deleted by printing a line.
 */
const logResourceTypes = ['gce_instance', 'k8s_node'] as const;
type LogResourceType = (typeof logResourceTypes)[number];

const printable = /^[^\p{Cc}\u2028\u2029]+$/u;

const ruleSchema = v.pipe(
  v.strictObject(
    {
      log: v.pipe(
        v.string('must be a text'),
        v.regex(/^[A-Za-z0-9._/-]{1,511}$/, 'must be the id of a log, not encoded'),
      ),
      resource_type: v.optional(
        v.picklist(logResourceTypes, `must be one of ${logResourceTypes.join(', ')}`),
        'gce_instance',
      ),
      contains: v.optional(
        v.pipe(
          v.array(
            v.pipe(
              v.string('must be a list of texts'),
              v.minLength(3, 'has a text of fewer than 3 characters'),
              v.maxLength(200, 'has a text of more than 200 characters'),
              v.regex(printable, 'has a text that is not one printable line'),
            ),
            'must be a list of texts',
          ),
          v.minLength(1, 'must have a text'),
        ),
      ),
      method: v.optional(
        v.pipe(v.string('must be a text'), v.regex(/^[A-Za-z0-9._]{3,200}$/, 'must be the name of a method')),
      ),
      labels: v.record(v.string(), v.string('must be texts'), 'must be an object of texts'),
    },
    ({ expected, received }) =>
      expected === 'never'
        ? `${received} is not known; known are log, resource_type, contains, method, labels`
        : expected === 'Object'
          ? 'must be an object'
          : `${expected} is missing`,
  ),
  v.check(
    ({ contains, method }) => (contains === undefined) !== (method === undefined),
    'must have either contains or method',
  ),
  v.check(({ labels }) => (labels['failover_action'] ?? '') !== '', 'must have the label failover_action'),
  v.check(
    ({ labels }) => !Object.hasOwn(labels, 'failover_on_close'),
    'must not have the label failover_on_close, because nothing tells that a log entry is over',
  ),
  v.transform(({ log, resource_type, contains = [], method, labels }): LogRule => ({
    log,
    resourceType: resource_type,
    contains: contains.map((text) => text.toLowerCase()),
    method,
    labels,
  })),
);

const rulesSchema = v.pipe(
  v.custom<Record<string, unknown>>(isObject, 'must be a JSON object of rules by their ids'),
  v.record(
    v.pipe(v.string(), v.regex(/^[a-z][a-z0-9_-]{0,62}$/, 'must be named by small letters, digits, - and _')),
    ruleSchema,
  ),
);

/** The setting LOG_RULES: JSON, such as `{"xid-79": {"log": …, "contains": […], "labels": {…}}}`. */
export const logRulesSchema = v.pipe(
  v.string(),
  v.rawTransform(({ dataset, addIssue, NEVER }): LogRules => {
    let rules: unknown;
    try {
      rules = JSON.parse(dataset.value);
    } catch {
      addIssue({ message: 'is not JSON' });
      return NEVER;
    }
    const result = v.safeParse(rulesSchema, rules, { abortPipeEarly: true });
    if (result.success) return result.output;
    for (const issue of result.issues) {
      const where = (issue.path ?? []).map(({ key }) => String(key)).join('.');
      addIssue({ message: where ? `${where} ${issue.message}` : issue.message });
    }
    return NEVER;
  }),
);

import * as v from 'valibot';
import { actionTypes } from './action-type.ts';
import type { ActionType } from './action-type.ts';
import { logRulesSchema } from './alert/log-rules.ts';
import type { LogRules } from './alert/log-rules.ts';
import { clusterNameSchema } from './cluster-name.ts';
import type { ClusterName } from './cluster-name.ts';
import { dnsLabel } from './names.ts';
import {
  actionTypeSchema,
  endpointSchema,
  listOf,
  numberOrPercentage,
  wholeNumber,
} from './setting-schemas.ts';

/** The settings of one function, checked once at start. docs/configuration.md describes them. */
export interface Config {
  clusters: ClusterName[];
  allowedActions: ActionType[];
  alertActions: ActionType[];
  /** Actions of these types wait for the approval of another principal. */
  approvalActions: ActionType[];
  /** How long an action waits for its approval. */
  approvalTtlSeconds: number;
  allowedNamespaces: string[];
  /** What log entries ask for, by the rule's id. */
  logRules: LogRules;
  cooldownSeconds: number;
  /** A number of pools, or a share of the cluster's accelerator pools. */
  maxPoolsPerHour: number | { percent: number };
  /** How often within 24 h a pool is repaired, or a JobSet restarted. */
  maxAttemptsPerDay: number;
  maxAlertAgeSeconds: number;
  actionDeadlineSeconds: number;
  /** How long after a restart its run may take to be back, before the verdict is `not_recovered`. */
  recoveryTimeoutSeconds: number;
  /** How long after a repair its machine may take to be back, before the verdict is `not_repaired`. */
  repairTimeoutSeconds: number;
  /** How long a repaired pool may take to pass its test, before the verdict is `not_accepted`. */
  acceptTimeoutSeconds: number;
  /** For how long after its request reconcile resumes an action that nobody works on. */
  resumeWithinSeconds: number;
  cordonConcurrency: number;
  gkeEndpoint: 'auto' | 'dns' | 'public' | 'private';
  /** For local runs only: connect with this context of the kubeconfig instead of asking the Container API. */
  kubeconfigContext: string | undefined;
  /** The addresses of the Container and Compute APIs, from gcloud's own variables; undefined means Google's own. */
  containerEndpoint: URL | undefined;
  computeEndpoint: URL | undefined;
}

/** The credentials that the public webhook function needs in addition to {@link Config}. */
export interface WebhookCredentials {
  username: string;
  password: string;
}

type Environment = Record<string, string | undefined>;

/**
 * Reads the settings from the environment.
 *
 * @throws {ConfigError} which names every setting that is missing or wrong, and says how to set it
 */
export function readConfig(environment: Environment): Config {
  const settings = checkSettings(settingsSchema, environment);
  const allowedActions = settings.ALLOWED_ACTIONS ?? [...actionTypes];
  const alertActions = settings.ALERT_ACTIONS ?? allowedActions;
  const excess = alertActions.filter((type) => !allowedActions.includes(type));
  if (excess.length > 0) {
    throw new ConfigError([`ALERT_ACTIONS has ${excess.join(', ')}, which ALLOWED_ACTIONS does not allow`]);
  }
  if (settings.KUBECONFIG_CONTEXT !== undefined && settings.CLUSTERS.length !== 1) {
    throw new ConfigError([
      'KUBECONFIG_CONTEXT needs exactly one cluster in CLUSTERS: the cluster of that context',
    ]);
  }
  return {
    clusters: settings.CLUSTERS,
    allowedActions,
    alertActions,
    approvalActions: settings.APPROVAL_ACTIONS,
    approvalTtlSeconds: settings.APPROVAL_TTL_SECONDS,
    allowedNamespaces: settings.ALLOWED_NAMESPACES,
    logRules: settings.LOG_RULES,
    cooldownSeconds: settings.COOLDOWN_SECONDS,
    maxPoolsPerHour: settings.MAX_POOLS_PER_HOUR,
    maxAttemptsPerDay: settings.MAX_ATTEMPTS_PER_DAY,
    maxAlertAgeSeconds: settings.MAX_ALERT_AGE_SECONDS,
    actionDeadlineSeconds: settings.ACTION_DEADLINE_SECONDS,
    recoveryTimeoutSeconds: settings.RECOVERY_TIMEOUT_SECONDS,
    repairTimeoutSeconds: settings.REPAIR_TIMEOUT_SECONDS,
    acceptTimeoutSeconds: settings.ACCEPT_TIMEOUT_SECONDS,
    resumeWithinSeconds: settings.RESUME_WITHIN_SECONDS,
    cordonConcurrency: settings.CORDON_CONCURRENCY,
    gkeEndpoint: settings.GKE_ENDPOINT,
    kubeconfigContext: settings.KUBECONFIG_CONTEXT,
    containerEndpoint: settings.CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER,
    computeEndpoint: settings.CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE,
  };
}

/**
 * Reads the Basic credentials that the public webhook function demands. The function does not run without them.
 *
 * @throws {ConfigError} if one of them is missing or ill-formed
 */
export function readWebhookCredentials(environment: Environment): WebhookCredentials {
  const settings = checkSettings(webhookSchema, environment);
  return { username: settings.WEBHOOK_USERNAME, password: settings.WEBHOOK_PASSWORD };
}

/** Thrown if the settings are wrong: the function must not start. `message` is one sentence with all problems. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';

  constructor(problems: string[]) {
    super(`the function cannot start: ${problems.join('; ')}`);
  }
}

function checkSettings<const Schema extends v.GenericSchema>(
  schema: Schema,
  environment: Environment,
): v.InferOutput<Schema> {
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => value?.trim()));
  const result = v.safeParse(schema, given, { abortPipeEarly: true });
  if (result.success) return result.output;
  throw new ConfigError(result.issues.map((issue) => describeIssue(issue)));
}

function describeIssue(issue: v.BaseIssue<unknown>): string {
  const name = String(issue.path?.[0]?.key);
  const isMissing = issue.input === undefined;
  return isMissing ? `${name} is not set: ${requiredHints[name]}` : `${name} ${issue.message}`;
}

const requiredHints: Record<string, string> = {
  CLUSTERS: 'list the GKE clusters it may act on, as CLUSTERS=projects/P/locations/L/clusters/C,…',
  WEBHOOK_USERNAME: 'set it to the user name of the webhook notification channel',
  WEBHOOK_PASSWORD: 'set it from Secret Manager to the password of the webhook notification channel',
};

const settingsSchema = v.object({
  CLUSTERS: v.pipe(
    listOf(clusterNameSchema),
    v.minLength(1, 'names no cluster'),
    v.check(
      (clusters) => new Set(clusters.map((c) => c.fullName)).size === clusters.length,
      'names a cluster twice',
    ),
  ),
  ALLOWED_ACTIONS: v.optional(v.pipe(listOf(actionTypeSchema), v.minLength(1, 'allows nothing'))),
  ALERT_ACTIONS: v.optional(listOf(actionTypeSchema)),
  APPROVAL_ACTIONS: v.optional(listOf(actionTypeSchema), ''),
  APPROVAL_TTL_SECONDS: wholeNumber(60, 43_200, 'seconds', '1800'),
  ALLOWED_NAMESPACES: v.optional(
    v.pipe(
      listOf(
        v.pipe(
          v.string(),
          v.regex(dnsLabel, (issue) => `has ${issue.received}, which is not the name of a namespace`),
        ),
      ),
      v.minLength(1, 'names no namespace'),
    ),
    'default',
  ),
  LOG_RULES: v.optional(logRulesSchema, '{}'),
  COOLDOWN_SECONDS: wholeNumber(0, 604_800, 'seconds', '3600'),
  MAX_POOLS_PER_HOUR: numberOrPercentage(1, 1000, 'pools', '2'),
  MAX_ATTEMPTS_PER_DAY: wholeNumber(1, 100, 'attempts', '3'),
  MAX_ALERT_AGE_SECONDS: wholeNumber(60, 86_400, 'seconds', '900'),
  ACTION_DEADLINE_SECONDS: wholeNumber(30, 3500, 'seconds', '240'),
  RECOVERY_TIMEOUT_SECONDS: wholeNumber(60, 86_400, 'seconds', '1200'),
  REPAIR_TIMEOUT_SECONDS: wholeNumber(60, 86_400, 'seconds', '1800'),
  ACCEPT_TIMEOUT_SECONDS: wholeNumber(60, 86_400, 'seconds', '1800'),
  RESUME_WITHIN_SECONDS: wholeNumber(0, 86_400, 'seconds', '900'),
  CORDON_CONCURRENCY: wholeNumber(1, 512, 'requests', '64'),
  GKE_ENDPOINT: v.optional(
    v.picklist(['auto', 'dns', 'public', 'private'], 'must be auto, dns, public or private'),
    'auto',
  ),
  KUBECONFIG_CONTEXT: v.optional(v.string()),
  CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER: v.optional(endpointSchema),
  CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE: v.optional(endpointSchema),
});

const webhookSchema = v.object({
  WEBHOOK_USERNAME: v.pipe(v.string(), v.regex(/^[^:\s]+$/, 'must not have a colon or white space')),
  WEBHOOK_PASSWORD: v.pipe(
    v.string(),
    v.minLength(16, 'must have at least 16 characters'),
    // Such a password would let no notification in, and no message would say why.
    v.check(
      (text) => text === text.trim(),
      'must not begin or end with white space: make the secret with printf, because echo adds a line feed',
    ),
  ),
});

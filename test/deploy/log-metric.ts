import type { LogEntry } from './logging-query.ts';

/** A log-based metric, as Terraform keeps it. */
export interface Metric {
  filter: string;
  label_extractors: Record<string, string>;
  value_extractor: string;
  metric_descriptor: { labels: { key: string }[] }[];
}

/** The condition of an alert policy that matches log lines. */
export interface LogCondition {
  filter: string;
  label_extractors: Record<string, string>;
}

/** Returns the labels that a metric declares. */
export function labelsOf({ metric_descriptor: descriptors }: Metric): string[] {
  return descriptors.flatMap(({ labels }) => labels.map(({ key }) => key));
}

/** Returns the first condition of a policy, which must be a log match. */
export function logCondition(policy: Record<string, unknown>): LogCondition {
  const [condition] = policy['conditions'] as { condition_matched_log: LogCondition[] }[];
  const matchedLog = condition?.condition_matched_log[0];
  if (!matchedLog) throw new Error('the policy matches no log');
  return matchedLog;
}

/** What Cloud Logging's EXTRACT takes out of an entry; a field that is not there is an empty text. */
export function extract<Name extends string>(
  entry: LogEntry,
  extractors: Record<Name, string>,
): Record<Name, string> {
  const entries = Object.entries<string>(extractors).map(([name, expression]) => {
    const [, field = ''] = /^EXTRACT\(jsonPayload\.(\w+)\)$/.exec(expression) ?? [];
    const value = entry.jsonPayload?.[field] as string | number | boolean | undefined;
    return [name, String(value ?? '')];
  });
  return Object.fromEntries(entries) as Record<Name, string>;
}

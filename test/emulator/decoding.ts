import { isJsonObject } from './objects.ts';
import type { JsonObject, KubernetesObject } from './objects.ts';
import type { Resource } from './resources.ts';

/** A field that does not have its declared type. A create answers 400, a patch 422. */
export class DecodingError extends Error {}

type FieldType = 'boolean' | 'integer' | 'string' | 'strings' | 'time' | 'microtime';

/**
 * Reads an object as the API server's Go types do: nulls are as good as absent, times are kept in UTC, and a value of
 * another type is refused, in the fields that matter here.
 * @throws DecodingError
 */
export function decode(resource: Resource, draft: KubernetesObject): void {
  dropNulls(draft);
  for (const [path, type] of Object.entries({ ...metadata, ...fields[resource.plural] })) {
    readField(resource, draft, path, type);
  }
}

const metadata: Record<string, FieldType> = {
  'metadata.name': 'string',
  'metadata.uid': 'string',
  'metadata.resourceVersion': 'string',
  'metadata.labels': 'strings',
  'metadata.annotations': 'strings',
};

const fields: Partial<Record<Resource['plural'], Record<string, FieldType>>> = {
  nodes: { 'spec.unschedulable': 'boolean', 'spec.providerID': 'string' },
  jobs: {
    'spec.suspend': 'boolean',
    'spec.activeDeadlineSeconds': 'integer',
    'spec.backoffLimit': 'integer',
    'spec.parallelism': 'integer',
  },
  jobsets: { 'spec.suspend': 'boolean', 'status.restarts': 'integer' },
  leases: {
    'spec.holderIdentity': 'string',
    'spec.leaseDurationSeconds': 'integer',
    'spec.leaseTransitions': 'integer',
    'spec.acquireTime': 'microtime',
    'spec.renewTime': 'microtime',
  },
  events: {
    reason: 'string',
    message: 'string',
    type: 'string',
    count: 'integer',
    firstTimestamp: 'time',
    lastTimestamp: 'time',
    eventTime: 'microtime',
  },
};

function dropNulls(object: JsonObject): void {
  for (const [key, value] of Object.entries(object)) {
    if (value === null) delete object[key];
    else if (isJsonObject(value) && !Object.isFrozen(value)) dropNulls(value);
    else if (Array.isArray(value) && !Object.isFrozen(value)) {
      for (const item of value as unknown[]) if (isJsonObject(item)) dropNulls(item);
    }
  }
}

function readField(resource: Resource, draft: KubernetesObject, path: string, type: FieldType): void {
  const names = path.split('.');
  const last = names.pop() ?? '';
  let parent: unknown = draft;
  for (const name of names) {
    if (!isJsonObject(parent)) return;
    parent = parent[name];
  }
  if (!isJsonObject(parent) || parent[last] === undefined) return;
  const value = parent[last];
  if (type === 'time' || type === 'microtime') parent[last] = readTime(value, type);
  else if (!isOfType(value, type)) {
    const owner = `${resource.kind}${names.length > 0 ? capitalise(names[0] ?? '') : ''}`;
    throw new DecodingError(
      `json: cannot unmarshal ${nameOf(value)} into Go struct field ${owner}.${path} of type ${goTypes[type]}`,
    );
  }
}

const goTypes = { boolean: 'bool', integer: 'int64', string: 'string', strings: 'string' };

function isOfType(value: unknown, type: FieldType): boolean {
  if (type === 'integer') return Number.isInteger(value);
  if (type === 'strings') {
    return isJsonObject(value) && Object.values(value).every((each) => typeof each === 'string');
  }
  return typeof value === type;
}

const layouts = {
  time: { name: '2006-01-02T15:04:05Z07:00', pattern: /T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/ },
  // Exactly six digits. Other code that parses times accepts more or fewer.
  microtime: {
    name: '2006-01-02T15:04:05.000000Z07:00',
    pattern: /T\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)$/,
  },
};

function readTime(value: unknown, type: 'time' | 'microtime'): string {
  const { name, pattern } = layouts[type];
  if (typeof value !== 'string') {
    throw new DecodingError(`json: cannot unmarshal ${nameOf(value)} into Go value of type string`);
  }
  const milliseconds = Date.parse(value);
  if (!/^\d{4}-\d\d-\d\dT/.test(value) || !pattern.test(value) || Number.isNaN(milliseconds)) {
    const [, rest = value] = /T\d\d:\d\d:\d\d(.*)$/.exec(value) ?? [];
    const wanted = rest === value ? '2006' : '.000000';
    throw new DecodingError(
      `parsing time ${JSON.stringify(value)} as ${JSON.stringify(name)}: ` +
        `cannot parse ${JSON.stringify(rest)} as ${JSON.stringify(wanted)}`,
    );
  }
  const [seconds] = new Date(milliseconds).toISOString().split('.');
  if (type === 'time') return `${seconds}Z`;
  const [, micros = '000000'] = /\.(\d{6})/.exec(value) ?? [];
  return `${seconds}.${micros}Z`;
}

function nameOf(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  return typeof value === 'boolean' ? 'bool' : typeof value;
}

function capitalise(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

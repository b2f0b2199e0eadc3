import { badRequest } from './api-status.ts';
import type { KubernetesObject, LabelSelector, LabelSelectorRequirement, Pod } from './objects.ts';

export type Labels = Record<string, string> | undefined;

/** Parses a `labelSelector` of a query, e.g. `pool=a,tier notin (x, y),!gpu`. @throws ApiStatus 400 */
export function parseLabelSelector(text: string): LabelSelectorRequirement[] {
  return splitTopLevel(text).map((part) => parseRequirement(part, text));
}

export function toRequirements(selector: LabelSelector | undefined): LabelSelectorRequirement[] {
  const equal = Object.entries(selector?.matchLabels ?? {}).map(([key, value]) => ({
    key,
    operator: 'In',
    values: [value],
  }));
  return [...equal, ...(selector?.matchExpressions ?? [])];
}

/** As Kubernetes: a missing label satisfies NotIn and DoesNotExist. */
export function matchesLabels(labels: Labels, requirements: readonly LabelSelectorRequirement[]): boolean {
  return requirements.every(({ key, operator, values = [] }) => {
    const value = labels?.[key];
    switch (operator) {
      case 'In':
        return value !== undefined && values.includes(value);
      case 'NotIn':
        return value === undefined || !values.includes(value);
      case 'Exists':
        return value !== undefined;
      case 'DoesNotExist':
        return value === undefined;
      case 'Gt':
        return value !== undefined && Number(value) > Number(values[0]);
      case 'Lt':
        return value !== undefined && Number(value) < Number(values[0]);
      default:
        throw badRequest(`${JSON.stringify(operator)} is not a valid label selector operator`);
    }
  });
}

export interface FieldRequirement {
  field: string;
  equal: boolean;
  value: string;
}

/** Parses a `fieldSelector` and refuses a field that this kind cannot be selected by. @throws ApiStatus 400 */
export function parseFieldSelector(text: string, kind: string): FieldRequirement[] {
  return text
    .split(',')
    .filter((part) => part !== '')
    .map((part) => {
      const match = /^([^=!]+)(==|!=|=)(.*)$/.exec(part);
      if (!match) throw badRequest(`invalid selector: '${part}'; can't understand '${part}'`);
      const [, field = '', operator, value = ''] = match;
      if (!isSelectableField(kind, field)) throw badRequest(`field label not supported: ${field}`);
      return { field, equal: operator !== '!=', value };
    });
}

export function matchesFields(object: KubernetesObject, requirements: readonly FieldRequirement[]): boolean {
  return requirements.every(({ field, equal, value }) => (readField(object, field) === value) === equal);
}

const selectable: Record<string, string[]> = {
  Node: ['spec.unschedulable'],
  Pod: [
    'spec.nodeName',
    'spec.restartPolicy',
    'spec.schedulerName',
    'spec.serviceAccountName',
    'spec.hostNetwork',
    'status.phase',
    'status.podIP',
    'status.nominatedNodeName',
  ],
  Job: ['status.successful'],
  Namespace: ['status.phase'],
  Event: [
    ...['kind', 'namespace', 'name', 'uid', 'apiVersion', 'resourceVersion', 'fieldPath'].map(
      (field) => `involvedObject.${field}`,
    ),
    'reason',
    'reportingComponent',
    'source',
    'type',
  ],
};

function isSelectableField(kind: string, field: string): boolean {
  return (
    field === 'metadata.name' || field === 'metadata.namespace' || Boolean(selectable[kind]?.includes(field))
  );
}

function readField(object: KubernetesObject, field: string): string {
  if (field === 'spec.nodeName') return (object as Pod).spec.nodeName ?? '';
  // Booleans are compared as text, and an unset one is false, so `spec.unschedulable!=true` finds the nodes to cordon.
  const absent = field === 'spec.unschedulable' || field === 'spec.hostNetwork' ? 'false' : '';
  let value: unknown = field === 'source' ? object['source'] : object;
  for (const part of field === 'source' ? ['component'] : field.split('.')) {
    value = (value as Record<string, unknown> | undefined)?.[part];
  }
  if (typeof value === 'string') return value;
  return value === undefined || value === null ? absent : JSON.stringify(value);
}

/** Splits at commas outside of parentheses. */
function splitTopLevel(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let part = '';
  for (const character of text) {
    if (character === '(') depth += 1;
    if (character === ')') depth -= 1;
    if (character === ',' && depth === 0) {
      parts.push(part);
      part = '';
    } else part += character;
  }
  parts.push(part);
  return parts.map((each) => each.trim()).filter((each) => each !== '');
}

const keyPattern = '([A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?)';
const valuePattern = '([-A-Za-z0-9_.]*)';
const existsPattern = new RegExp(`^(!?)\\s*${keyPattern}$`);
const equalsPattern = new RegExp(`^${keyPattern}\\s*(==|!=|=)\\s*${valuePattern}$`);
const setPattern = new RegExp(`^${keyPattern}\\s+(in|notin)\\s*\\(([^()]*)\\)$`);

function parseRequirement(part: string, whole: string): LabelSelectorRequirement {
  const equals = equalsPattern.exec(part);
  if (equals) {
    const [, key = '', operator, value = ''] = equals;
    return { key, operator: operator === '!=' ? 'NotIn' : 'In', values: [value] };
  }
  const set = setPattern.exec(part);
  if (set) {
    const [, key = '', operator, list = ''] = set;
    return {
      key,
      operator: operator === 'in' ? 'In' : 'NotIn',
      values: list.split(',').map((each) => each.trim()),
    };
  }
  const exists = existsPattern.exec(part);
  if (exists) return { key: exists[2] ?? '', operator: exists[1] ? 'DoesNotExist' : 'Exists' };
  throw badRequest(`unable to parse requirement: found '${part}' in ${JSON.stringify(whole)}`);
}

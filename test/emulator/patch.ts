import { ApiStatus, badRequest } from './api-status.ts';
import { patchMergeKeyOf } from './list-keys.ts';
import { cloneJson, isEqualJson, isJsonObject } from './objects.ts';
import type { JsonObject } from './objects.ts';

/** Merges as RFC 7386 says: null deletes, lists are replaced. */
export function applyMergePatch(target: unknown, patch: unknown): unknown {
  if (!isJsonObject(patch)) return cloneJson(patch);
  const result: JsonObject = isJsonObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = applyMergePatch(result[key], value);
  }
  return result;
}

/** Merges as Kubernetes' strategic merge patch: known lists by their key, `$patch`, `$deleteFromPrimitiveList`, … */
export function applyStrategicMergePatch(kind: string, target: JsonObject, patch: JsonObject): JsonObject {
  return mergeStrategically(kind, '', target, patch);
}

export interface JsonPatchOperation {
  op: string;
  path: string;
  from?: string;
  value?: unknown;
}

/** Applies RFC 6902. @throws ApiStatus 422 where an operation cannot be done or a test does not hold */
export function applyJsonPatch(target: JsonObject, operations: unknown): JsonObject {
  if (!Array.isArray(operations)) {
    throw badRequest('error decoding patch: json: cannot unmarshal object into Go value');
  }
  const root = { document: cloneJson(target) as unknown };
  for (const operation of operations as JsonPatchOperation[]) applyOperation(root, operation);
  return root.document as JsonObject;
}

function mergeStrategically(kind: string, path: string, target: unknown, patch: JsonObject): JsonObject {
  if (patch['$patch'] === 'replace') return withoutDirectives(patch);
  const result: JsonObject = isJsonObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith('$')) {
      applyDirective(result, key, value);
      continue;
    }
    const fieldPath = path ? `${path}.${key}` : key;
    if (value === null) delete result[key];
    else if (Array.isArray(value)) result[key] = mergeList(kind, fieldPath, result[key], value);
    else if (!isJsonObject(value)) result[key] = value;
    else if (value['$patch'] === 'delete') delete result[key];
    else result[key] = mergeStrategically(kind, fieldPath, result[key], value);
  }
  return result;
}

function mergeList(kind: string, path: string, target: unknown, patch: unknown[]): unknown[] {
  const mergeKey = patchMergeKeyOf(kind, path);
  const current = Array.isArray(target) ? (target as unknown[]) : [];
  if (mergeKey === undefined) return cloneJson(patch);
  if (mergeKey === 'set') return [...current, ...patch.filter((item) => !current.includes(item))];
  const items = patch as JsonObject[];
  if (items.some((item) => item['$patch'] === 'replace')) return items.filter((item) => !item['$patch']);
  let result = current as JsonObject[];
  for (const item of items) {
    const index = result.findIndex((each) => each[mergeKey] === item[mergeKey]);
    if (item['$patch'] === 'delete') result = result.filter((_, at) => at !== index);
    else if (index < 0) result = [...result, mergeStrategically(kind, path, {}, item)];
    else {
      result = result.map((each, at) => (at === index ? mergeStrategically(kind, path, each, item) : each));
    }
  }
  return result;
}

function applyDirective(result: JsonObject, directive: string, value: unknown): void {
  const [name, field = ''] = directive.split('/');
  const list = result[field];
  if (name === '$deleteFromPrimitiveList' && Array.isArray(list) && Array.isArray(value)) {
    result[field] = list.filter((item) => !value.includes(item));
  }
  if (name === '$retainKeys' && Array.isArray(value)) {
    for (const key of Object.keys(result)) if (!value.includes(key)) delete result[key];
  }
  // $setElementOrder only orders.
}

function withoutDirectives(patch: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(patch).filter(([key]) => !key.startsWith('$')));
}

function applyOperation(root: { document: unknown }, operation: JsonPatchOperation): void {
  const { op, path, from } = operation;
  switch (op) {
    case 'add':
      return write(root, path, cloneJson(operation.value), 'add');
    case 'replace':
      read(root, path);
      return write(root, path, cloneJson(operation.value), 'replace');
    case 'remove':
      read(root, path);
      return erase(root, path);
    case 'move': {
      const value = read(root, from ?? '');
      erase(root, from ?? '');
      return write(root, path, value, 'add');
    }
    case 'copy':
      return write(root, path, cloneJson(read(root, from ?? '')), 'add');
    case 'test':
      if (!isEqualJson(readOptional(root, path), operation.value)) throw unprocessable();
      return;
    default:
      throw unprocessable();
  }
}

function readOptional(root: { document: unknown }, pointer: string): unknown {
  let value: unknown = root.document;
  for (const token of toTokens(pointer)) {
    if (Array.isArray(value)) value = (value as unknown[])[Number(token)];
    else if (isJsonObject(value) && Object.hasOwn(value, token)) value = value[token];
    else return undefined;
  }
  return value;
}

function read(root: { document: unknown }, pointer: string): unknown {
  const value = readOptional(root, pointer);
  if (value === undefined) throw unprocessable();
  return value;
}

function write(root: { document: unknown }, pointer: string, value: unknown, how: 'add' | 'replace'): void {
  const tokens = toTokens(pointer);
  const last = tokens.pop();
  if (last === undefined) {
    root.document = value;
    return;
  }
  const parent = tokens.length === 0 ? root.document : read(root, `/${tokens.map(escapeToken).join('/')}`);
  if (Array.isArray(parent)) {
    const index = last === '-' ? parent.length : Number(last);
    if (!Number.isInteger(index) || index < 0 || index > parent.length) throw unprocessable();
    parent.splice(index, how === 'replace' ? 1 : 0, value);
  } else if (isJsonObject(parent)) parent[last] = value;
  else throw unprocessable();
}

function erase(root: { document: unknown }, pointer: string): void {
  const tokens = toTokens(pointer);
  const last = tokens.pop() ?? '';
  const parent = tokens.length === 0 ? root.document : read(root, `/${tokens.map(escapeToken).join('/')}`);
  if (Array.isArray(parent)) parent.splice(Number(last), 1);
  else if (isJsonObject(parent)) delete parent[last];
}

function toTokens(pointer: string): string[] {
  if (pointer === '') return [];
  if (!pointer.startsWith('/')) throw unprocessable();
  return pointer
    .slice(1)
    .split('/')
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function escapeToken(token: string): string {
  return token.replaceAll('~', '~0').replaceAll('/', '~1');
}

/** The API server says the same for every JSON patch that cannot be applied. */
function unprocessable(): ApiStatus {
  return new ApiStatus(422, 'Invalid', 'the server rejected our request due to an error in our request', {});
}

import { listKeysOf } from './list-keys.ts';
import { isEqualJson, isJsonObject } from './objects.ts';
import type { JsonObject } from './objects.ts';

/**
 * A set of field paths, in the form of managedFields' FieldsV1: `{"f:spec": {"f:unschedulable": {}}}`. An element
 * without children is a member; one with children is a member where it has ".".
 */
export interface FieldSet {
  [element: string]: FieldSet;
}

/** All fields of an object, without those that nobody owns (name, uid, resourceVersion, …). */
export function fieldsOf(object: JsonObject): FieldSet {
  const kind = String(object['kind']);
  const fields = collect(kind, '', object);
  return difference(fields, unowned);
}

/** The fields that a write added or changed, and those that it removed. */
export function compareFields(
  before: JsonObject,
  after: JsonObject,
): { changed: FieldSet; removed: FieldSet } {
  const kind = String(after['kind']);
  const { changed, removed } = compare(kind, '', before, after);
  return { changed: difference(changed, unowned), removed: difference(removed, unowned) };
}

export function isEmptySet(set: FieldSet): boolean {
  return Object.keys(set).length === 0;
}

export function union(a: FieldSet, b: FieldSet): FieldSet {
  const result: FieldSet = { ...a };
  for (const [element, child] of Object.entries(b)) {
    const own = result[element];
    if (!own) result[element] = child;
    else if (isEmptySet(own) !== isEmptySet(child)) result[element] = { '.': {}, ...own, ...child };
    else result[element] = union(own, child);
  }
  return result;
}

export function difference(a: FieldSet, b: FieldSet): FieldSet {
  const result: FieldSet = {};
  for (const [element, child] of Object.entries(a)) {
    const other = b[element];
    if (!other) {
      result[element] = child;
      continue;
    }
    const isMember = isEmptySet(child);
    const otherIsMember = isEmptySet(other) || Boolean(other['.']);
    if (isMember) {
      if (!otherIsMember) result[element] = child;
      continue;
    }
    const rest = difference(child, isEmptySet(other) ? { '.': {} } : other);
    if (!isEmptySet(rest)) result[element] = rest;
  }
  return result;
}

export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  return difference(a, difference(a, b));
}

/** The members as paths: `.spec.unschedulable`, `.status.conditions[type="Ready"].status`. */
export function toPaths(set: FieldSet, prefix = ''): string[] {
  return Object.entries(set).flatMap(([element, child]) => {
    if (element === '.') return [prefix];
    const path = prefix + toPathElement(element);
    return isEmptySet(child) ? [path] : toPaths(child, path);
  });
}

/** A copy without the given fields; a map or a list item that loses its last field goes too. */
export function withoutFields(kind: string, object: JsonObject, fields: FieldSet): JsonObject {
  return strip(kind, '', object, fields) as JsonObject;
}

const unowned: FieldSet = {
  'f:apiVersion': {},
  'f:kind': {},
  'f:metadata': {
    '.': {},
    'f:name': {},
    'f:namespace': {},
    'f:uid': {},
    'f:selfLink': {},
    'f:generation': {},
    'f:resourceVersion': {},
    'f:creationTimestamp': {},
    'f:deletionTimestamp': {},
    'f:deletionGracePeriodSeconds': {},
    'f:managedFields': {},
  },
};

function collect(kind: string, path: string, value: unknown): FieldSet {
  const keys = Array.isArray(value) ? listKeysOf(kind, path) : undefined;
  if (Array.isArray(value) && keys === 'set') {
    return Object.fromEntries(value.map((item) => [`v:${JSON.stringify(item)}`, {}]));
  }
  if (Array.isArray(value) && keys !== undefined && keys !== 'set') {
    return Object.fromEntries(
      (value as JsonObject[]).map((item) => [
        toKeyElement(keys, item),
        { '.': {}, ...collect(kind, path, item) },
      ]),
    );
  }
  if (!isJsonObject(value)) return {};
  const fields: FieldSet = {};
  for (const [key, child] of Object.entries(value)) {
    if (child === undefined || (path === 'metadata' && key === 'managedFields')) continue;
    fields[`f:${key}`] = collect(kind, path ? `${path}.${key}` : key, child);
  }
  return fields;
}

function compare(
  kind: string,
  path: string,
  before: unknown,
  after: unknown,
): { changed: FieldSet; removed: FieldSet } {
  const changed: FieldSet = {};
  const removed: FieldSet = {};
  const children = pairChildren(kind, path, before, after);
  for (const [element, childPath, left, right] of children) {
    if (left === right) continue;
    if (left === undefined) changed[element] = withSelf(element, collect(kind, childPath, right));
    else if (right === undefined) removed[element] = withSelf(element, collect(kind, childPath, left));
    else if (hasChildren(kind, childPath, left, element) && hasChildren(kind, childPath, right, element)) {
      const below = compare(kind, childPath, left, right);
      if (!isEmptySet(below.changed)) changed[element] = below.changed;
      if (!isEmptySet(below.removed)) removed[element] = below.removed;
    } else if (!isEqualJson(left, right)) changed[element] = {};
  }
  return { changed, removed };
}

type ChildPair = [element: string, path: string, before: unknown, after: unknown];

function pairChildren(kind: string, path: string, before: unknown, after: unknown): ChildPair[] {
  if (isJsonObject(before) && isJsonObject(after)) {
    const names = new Set([...Object.keys(before), ...Object.keys(after)]);
    if (path === 'metadata') names.delete('managedFields');
    return [...names].map((key) => [`f:${key}`, path ? `${path}.${key}` : key, before[key], after[key]]);
  }
  const left = toElements(kind, path, before);
  const right = toElements(kind, path, after);
  return [...new Set([...left.keys(), ...right.keys()])].map((key) => [
    key,
    path,
    left.get(key),
    right.get(key),
  ]);
}

function toElements(kind: string, path: string, value: unknown): Map<string, unknown> {
  const keys = listKeysOf(kind, path);
  if (!Array.isArray(value) || !keys) return new Map();
  if (keys === 'set') return new Map((value as unknown[]).map((item) => [`v:${JSON.stringify(item)}`, item]));
  return new Map((value as JsonObject[]).map((item) => [toKeyElement(keys, item), item]));
}

function hasChildren(kind: string, path: string, value: unknown, element: string): boolean {
  if (element.startsWith('v:')) return false;
  if (Array.isArray(value)) return listKeysOf(kind, path) !== undefined;
  return isJsonObject(value);
}

function withSelf(element: string, fields: FieldSet): FieldSet {
  return element.startsWith('k:') ? { '.': {}, ...fields } : fields;
}

function strip(kind: string, path: string, value: unknown, fields: FieldSet): unknown {
  if (Array.isArray(value)) {
    const elements = [...toElements(kind, path, value)];
    return elements.flatMap(([element, item]) => {
      const child = fields[element];
      if (!child) return [item];
      if (isEmptySet(child) || child['.']) return [];
      return [strip(kind, path, item, child)];
    });
  }
  if (!isJsonObject(value)) return value;
  const result: JsonObject = {};
  for (const [key, item] of Object.entries(value)) {
    const child = fields[`f:${key}`];
    if (!child) result[key] = item;
    else if (!isEmptySet(child)) {
      const rest = strip(kind, path ? `${path}.${key}` : key, item, child);
      if (!isVoid(rest)) result[key] = rest;
    }
  }
  return result;
}

function isVoid(value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0;
  return isJsonObject(value) && Object.keys(value).length === 0;
}

function toKeyElement(keys: string[], item: JsonObject): string {
  return `k:${JSON.stringify(Object.fromEntries(keys.map((key) => [key, item[key]])))}`;
}

function toPathElement(element: string): string {
  const rest = element.slice(2);
  if (element.startsWith('f:')) return `.${rest}`;
  if (element.startsWith('v:')) return `[=${rest}]`;
  const pairs = Object.entries(JSON.parse(rest) as JsonObject);
  return `[${pairs.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(',')}]`;
}

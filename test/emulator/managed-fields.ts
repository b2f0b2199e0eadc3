import { ApiStatus } from './api-status.ts';
import {
  compareFields,
  difference,
  fieldsOf,
  intersection,
  isEmptySet,
  toPaths,
  union,
  withoutFields,
} from './field-set.ts';
import type { FieldSet } from './field-set.ts';
import { isEqualJson, isJsonObject } from './objects.ts';
import type { JsonObject, KubernetesObject, ManagedFieldsEntry } from './objects.ts';

export interface Manager {
  name: string;
  apiVersion: string;
  subresource?: string | undefined;
  /** When it writes, as Kubernetes writes times. */
  time: string;
}

/**
 * Gives an Update's manager the fields that it changed, and takes them from everybody else: a person who runs
 * `kubectl cordon` owns the cordon then. Changes the draft's managedFields only.
 */
export function recordUpdate(
  before: KubernetesObject | undefined,
  draft: KubernetesObject,
  manager: Manager,
): void {
  const entries = draft.metadata.managedFields ?? [];
  if (!before) {
    draft.metadata.managedFields = [toEntry(manager, 'Update', fieldsOf(draft))];
    return;
  }
  const { changed, removed } = compareFields(before, draft);
  const own = findEntry(entries, manager, 'Update');
  const rest = entries.flatMap((entry) =>
    entry === own ? [] : withSet(entry, difference(setOf(entry), union(changed, removed))),
  );
  const fields = union(difference(own ? setOf(own) : {}, removed), changed);
  const next = own && isEqualJson(setOf(own), fields) ? own : toEntry(manager, 'Update', fields);
  draft.metadata.managedFields = isEmptySet(fields) ? rest : [...rest, next];
}

/**
 * Server-side apply: lays the configuration over the object, and removes what this manager applied before, does not
 * any more, and nobody else owns.
 * @throws ApiStatus 409 naming the managers and fields where others own what it changes and `force` is not given
 */
export function applyConfiguration(
  live: KubernetesObject,
  configuration: JsonObject,
  manager: Manager,
  force: boolean,
): KubernetesObject {
  const entries = live.metadata.managedFields ?? [];
  const own = findEntry(entries, manager, 'Apply');
  const others = entries.filter((entry) => entry !== own);
  const applied = fieldsOf(configuration);
  const merged = overlay(live.kind, '', live, configuration) as KubernetesObject;
  const { changed } = compareFields(live, merged);
  const conflicts = others
    .map((entry) => ({ entry, fields: intersection(setOf(entry), changed) }))
    .filter(({ fields }) => !isEmptySet(fields));
  if (conflicts.length > 0 && !force) throw applyConflict(conflicts);

  let abandoned = difference(own ? setOf(own) : {}, applied);
  for (const entry of others) abandoned = difference(abandoned, setOf(entry));
  const kept = withoutFields(live.kind, merged, abandoned) as KubernetesObject;
  // The rest is shared with the live object, so the caller copies it before it stores it.
  const result = { ...kept, metadata: { ...kept.metadata } };
  const rest = others.flatMap((entry) => withSet(entry, difference(setOf(entry), changed)));
  const next = own && isEqualJson(setOf(own), applied) ? own : toEntry(manager, 'Apply', applied);
  result.metadata.managedFields = isEmptySet(applied) ? rest : [...rest, next];
  return result;
}

function overlay(kind: string, path: string, target: unknown, configuration: unknown): unknown {
  if (isJsonObject(configuration)) {
    const result: JsonObject = isJsonObject(target) ? { ...target } : {};
    for (const [key, value] of Object.entries(configuration)) {
      if (path === 'metadata' && key === 'managedFields') continue;
      if (value === null) continue;
      result[key] = overlay(kind, path ? `${path}.${key}` : key, result[key], value);
    }
    return result;
  }
  if (Array.isArray(configuration) && Array.isArray(target)) {
    return overlayList(kind, path, target, configuration);
  }
  return configuration;
}

function overlayList(kind: string, path: string, target: unknown[], configuration: unknown[]): unknown[] {
  const sample = fieldsOf({ kind, ...nest(path, configuration) });
  const elements = Object.keys(descend(sample, path));
  const isKeyed = elements.some((element) => element.startsWith('k:') || element.startsWith('v:'));
  if (!isKeyed) return configuration;
  const before = Object.keys(descend(fieldsOf({ kind, ...nest(path, target) }), path));
  const result = [...target];
  for (const [index, element] of elements.entries()) {
    const at = before.indexOf(element);
    if (at < 0) result.push(configuration[index]);
    else result[at] = overlay(kind, path, target[at], configuration[index]);
  }
  return result;
}

function nest(path: string, value: unknown): JsonObject {
  return path
    .split('.')
    .toReversed()
    .reduce<unknown>((inner, key) => ({ [key]: inner }), value) as JsonObject;
}

function descend(fields: FieldSet, path: string): FieldSet {
  return path.split('.').reduce<FieldSet>((set, key) => set[`f:${key}`] ?? {}, fields);
}

function findEntry(
  entries: ManagedFieldsEntry[],
  manager: Manager,
  operation: ManagedFieldsEntry['operation'],
): ManagedFieldsEntry | undefined {
  return entries.find(
    (entry) =>
      entry.manager === manager.name &&
      entry.operation === operation &&
      entry.apiVersion === manager.apiVersion &&
      entry.subresource === manager.subresource,
  );
}

function setOf(entry: ManagedFieldsEntry): FieldSet {
  return entry.fieldsV1 as FieldSet;
}

function withSet(entry: ManagedFieldsEntry, fields: FieldSet): ManagedFieldsEntry[] {
  return isEmptySet(fields) ? [] : [{ ...entry, fieldsV1: fields }];
}

function toEntry(
  manager: Manager,
  operation: ManagedFieldsEntry['operation'],
  fields: FieldSet,
): ManagedFieldsEntry {
  return {
    manager: manager.name,
    operation,
    apiVersion: manager.apiVersion,
    time: manager.time,
    fieldsType: 'FieldsV1',
    fieldsV1: fields,
    ...(manager.subresource && { subresource: manager.subresource }),
  };
}

function applyConflict(conflicts: { entry: ManagedFieldsEntry; fields: FieldSet }[]): ApiStatus {
  const causes = conflicts.flatMap(({ entry, fields }) =>
    toPaths(fields).map((field) => ({
      reason: 'FieldManagerConflict',
      message: `conflict with ${describeManager(entry)}`,
      field,
    })),
  );
  const [only] = causes;
  const text =
    causes.length === 1 && only
      ? `Apply failed with 1 conflict: ${only.message}: ${only.field}`
      : `Apply failed with ${causes.length} conflicts: ` +
        conflicts
          .map(({ entry, fields }) => {
            const paths = toPaths(fields).map((path) => `- ${path}`);
            return `conflicts with ${describeManager(entry)}:\n${paths.join('\n')}`;
          })
          .join('\n');
  return new ApiStatus(409, 'Conflict', text, { causes });
}

function describeManager(entry: ManagedFieldsEntry): string {
  const subresource = entry.subresource ? ` with subresource "${entry.subresource}"` : '';
  if (entry.operation === 'Apply') return `"${entry.manager}"${subresource}`;
  return `"${entry.manager}"${subresource} using ${entry.apiVersion}`;
}

import { Refusal } from './fresh-project.ts';
import type { FreshProject, Values } from './fresh-project.ts';
import { decode, encode, unknown } from './msgpack.ts';
import type { Value } from './msgpack.ts';
import type { Attribute, Block, NestedBlock, Provider } from './provider-schema.ts';

interface DynamicValue {
  msgpack?: Buffer;
  json?: Buffer;
}
interface ChangeRequest {
  type_name: string;
  prior_state: DynamicValue;
  next_state: DynamicValue;
  config: DynamicValue;
}
type Diagnostics = { severity: number; summary: string; detail: string }[];

/** What cannot be changed in place. Of an IAM member, a trigger or a password's version that is every argument. */
const immutable: Record<string, string[]> = {
  google_cloudfunctions2_function: ['name', 'location', 'project'],
  google_service_account: ['account_id', 'project'],
  google_pubsub_topic: ['name', 'project'],
  google_pubsub_subscription: ['name', 'topic', 'project'],
  google_secret_manager_secret: ['secret_id', 'project'],
  google_storage_bucket: ['name', 'location', 'project'],
};
const alwaysReplaced = /_iam_member$|^time_sleep$|_secret_version$|_bucket_object$|^google_project_service$/;

/** What a provider answers besides its schemas, for resources that are made in a simulated project. */
export function createStandIn(project: FreshProject, { resource }: Provider) {
  return {
    UpgradeResourceState: async ({ raw_state: state }: { raw_state: { json: Buffer } }) => ({
      upgraded_state: { json: state.json },
    }),
    ReadResource: async ({
      type_name: type,
      current_state: state,
    }: {
      type_name: string;
      current_state: DynamicValue;
    }) => ({
      new_state: toDynamic(project.read(type, read(state) as Values)),
    }),
    async PlanResourceChange({ type_name: type, prior_state, next_state }: ChangeRequest) {
      const [prior, proposed] = [read(prior_state), read(next_state)] as (Values | null)[];
      const block = resource[type] ?? {};
      if (proposed === null || proposed === undefined) return { planned_state: toDynamic(null) };
      if (prior === null || prior === undefined) {
        return { planned_state: toDynamic(plan(proposed, block, true)), legacy_type_system: true };
      }
      const planned = plan(proposed, block, false) as Values;
      if (type === 'google_monitoring_dashboard' && isShownBy(planned, prior)) {
        planned['dashboard_json'] = prior['dashboard_json'] ?? null;
      }
      const changed = Object.keys(planned).filter((name) => !isSame(planned[name], prior[name]));
      const replaced = changed.filter(
        (name) => alwaysReplaced.test(type) || immutable[type]?.includes(name) === true,
      );
      return {
        planned_state: toDynamic(replaced.length > 0 ? plan(planned, block, true) : planned),
        requires_replace: replaced.map((name) => ({ steps: [{ attribute_name: name }] })),
        legacy_type_system: true,
      };
    },
    async ApplyResourceChange({ type_name: type, prior_state, next_state }: ChangeRequest) {
      const [prior, planned] = [read(prior_state), read(next_state)] as (Values | null)[];
      const block = resource[type] ?? {};
      try {
        if (planned === null || planned === undefined) {
          await project.remove(type, prior as Values);
          return { new_state: toDynamic(null) };
        }
        const known = fillUnknown(planned, block);
        const made = prior ? await project.update(type, known) : await project.create(type, known);
        return { new_state: toDynamic(made), legacy_type_system: true };
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        // A function whose build fails is there, and the provider keeps it as tainted.
        const isTainted = !prior && type === 'google_cloudfunctions2_function';
        const left = isTainted ? { ...fillUnknown(planned as Values, block), id: 'failed' } : (prior ?? null);
        return { new_state: toDynamic(left), diagnostics: toDiagnostics(error), legacy_type_system: true };
      }
    },
    async ReadDataSource({ type_name: type, config }: { type_name: string; config: DynamicValue }) {
      try {
        return { state: toDynamic(project.readData(type, read(config) as Values)) };
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        return { diagnostics: toDiagnostics(error) };
      }
    },
  };
}

function toDiagnostics({ message }: Refusal): Diagnostics {
  return [{ severity: 1, summary: message, detail: '' }];
}

function read({ msgpack, json }: DynamicValue): Value {
  if (msgpack && msgpack.length > 0) return decode(msgpack);
  return JSON.parse(json?.toString() ?? 'null') as Value;
}

function toDynamic(value: Value): DynamicValue {
  return { msgpack: encode(value) };
}

const isAttribute = (entry: Attribute | NestedBlock): entry is Attribute => Array.isArray(entry);

/** What is computed is not known before a new resource is made; what is write-only is in no plan. */
function plan(value: Value, block: Block, isNew: boolean): Value {
  return mapBlock(value, block, (item, [, flags]) => {
    if (flags.includes('w')) return null;
    if (!flags.includes('c')) return item;
    return isNew && (item === null || !flags.includes('o')) ? unknown : item;
  });
}

function fillUnknown(value: Values, block: Block): Values {
  return mapBlock(value, block, (item, [type]) => {
    if (item !== unknown) return item;
    if (type === 'string') return '';
    if (type === 'number') return 0;
    if (type === 'bool') return false;
    return Array.isArray(type) && type[0] === 'map' ? {} : [];
  }) as Values;
}

function mapBlock(value: Value, block: Block, map: (item: Value, attribute: Attribute) => Value): Value {
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value as Values).map(([name, item]) => {
      const entry = block[name];
      if (!entry) return [name, item];
      if (isAttribute(entry)) return [name, map(item, entry)];
      if (Array.isArray(item)) return [name, item.map((each) => mapBlock(each, entry.block, map))];
      return [name, mapBlock(item, entry.block, map)];
    }),
  );
}

/** The provider compares a dashboard's JSON by what the configuration says: more than that may be in the answer. */
function isShownBy(planned: Values, prior: Values): boolean {
  if (typeof planned['dashboard_json'] !== 'string') return false;
  return isPartOf(
    JSON.parse(planned['dashboard_json']) as Value,
    JSON.parse(prior['dashboard_json'] as string) as Value,
  );
}

function isPartOf(wanted: Value | undefined, found: Value | undefined): boolean {
  if (Array.isArray(wanted)) {
    return (
      Array.isArray(found) &&
      wanted.length === found.length &&
      wanted.every((item, i) => isPartOf(item, found[i]))
    );
  }
  if (typeof wanted !== 'object' || wanted === null) return wanted === found;
  return (
    typeof found === 'object' &&
    found !== null &&
    Object.entries(wanted).every(([name, item]) => isPartOf(item, (found as Values)[name]))
  );
}

function isSame(a: Value | undefined, b: Value | undefined): boolean {
  if (a === unknown || b === unknown) return false;
  return encode(a ?? null).equals(encode(b ?? null));
}

/** A node of protobuf.js' JSON: a namespace, a message, an enum or a service. */
interface ProtoNode {
  nested?: Record<string, ProtoNode>;
  fields?: Record<string, { type: string; keyType?: string; options?: unknown }>;
  oneofs?: Record<string, { oneof: string[] }>;
  values?: Record<string, number>;
  methods?: Record<string, { requestType: string; responseType: string }>;
  options?: unknown;
}

/** A method that is called. */
export interface ProtoCall {
  /** In full: `google.container.v1.ClusterManager.GetCluster`. */
  method: string;
  /** Paths of the fields of the answer that are ever read, such as `masterAuth.clusterCaCertificate`; absent means all. */
  answer?: readonly string[];
}

/**
 * Reduces a Google client's protos, in protobuf.js' JSON, to the methods that are called and the messages and enums that
 * they reach: the client parses all of them at start, and Compute's are 12 MB. A field that is left out is skipped in an
 * answer, like one that is newer than the client.
 *
 * @throws {Error} for a method, field or type that the protos don't have
 */
export function pruneProtos(protos: unknown, calls: readonly ProtoCall[]): unknown {
  const root = protos as ProtoNode;
  const kept: ProtoNode = {};
  for (const call of calls) keepMethod(call);
  return kept;

  function keepMethod({ method: fullName, answer }: ProtoCall): void {
    const [service, name] = splitLast(fullName);
    const source = lookUp(root, service);
    const method = source?.methods?.[name];
    if (!method) throw new Error(`the protos have no method ${fullName}`);
    const target = makePath(kept, service);
    target.options = source.options;
    target.methods = { ...target.methods, [name]: method };
    keepType(method.requestType, service, undefined);
    keepType(method.responseType, service, answer);
  }

  function keepType(type: string, scope: string, paths: readonly string[] | undefined): void {
    if (scalars.has(type)) return;
    const fullName = resolveType(root, type, scope);
    const source = fullName === undefined ? undefined : lookUp(root, fullName);
    if (fullName === undefined || !source) {
      throw new Error(`the protos have no type ${type}, which ${scope} uses`);
    }
    const target = makePath(kept, fullName);
    const { nested: _, fields = {}, oneofs = {}, ...others } = source;
    Object.assign(target, others);
    if (source.fields) target.fields ??= {};
    for (const [name, below] of select(paths, fields)) {
      const field = fields[name];
      if (!field) throw new Error(`${fullName} has no field ${name}`);
      if (target.fields?.[name] && below === undefined) continue;
      target.fields = { ...target.fields, [name]: field };
      keepType(field.type, fullName, below);
    }
    for (const [name, { oneof }] of Object.entries(oneofs)) {
      const left = oneof.filter((field) => target.fields?.[field]);
      if (left.length > 0) target.oneofs = { ...target.oneofs, [name]: { oneof: left } };
    }
  }
}

/** The fields to keep, each with the paths to keep below it; undefined keeps all. */
function select(
  paths: readonly string[] | undefined,
  fields: Record<string, unknown>,
): Map<string, string[] | undefined> {
  const selected = new Map<string, string[] | undefined>();
  for (const path of paths ?? Object.keys(fields)) {
    const [name = '', ...rest] = path.split('.');
    if (rest.length === 0) selected.set(name, undefined);
    else if (!selected.has(name)) selected.set(name, [rest.join('.')]);
    else selected.get(name)?.push(rest.join('.'));
  }
  return selected;
}

/** Finds a type from within a scope as protobuf.js does: in the scope itself, then in each one around it. */
function resolveType(root: ProtoNode, type: string, scope: string): string | undefined {
  if (type.startsWith('.')) return lookUp(root, type.slice(1)) && type.slice(1);
  for (let around = scope; ; around = splitLast(around)[0]) {
    const candidate = around === '' ? type : `${around}.${type}`;
    const found = lookUp(root, candidate);
    if (found?.fields || found?.values) return candidate;
    if (around === '') return undefined;
  }
}

function lookUp(root: ProtoNode, fullName: string): ProtoNode | undefined {
  return fullName.split('.').reduce<ProtoNode | undefined>((node, part) => node?.nested?.[part], root);
}

function makePath(root: ProtoNode, fullName: string): ProtoNode {
  return fullName.split('.').reduce((node, part) => {
    node.nested ??= {};
    return (node.nested[part] ??= {});
  }, root);
}

function splitLast(fullName: string): [string, string] {
  const at = fullName.lastIndexOf('.');
  return at < 0 ? ['', fullName] : [fullName.slice(0, at), fullName.slice(at + 1)];
}

const scalars = new Set(
  'double float int32 uint32 sint32 fixed32 sfixed32 int64 uint64 sint64 fixed64 sfixed64 string bool bytes'.split(
    ' ',
  ),
);

import type { Value } from './msgpack.ts';
import type { Place } from './stand-in-provider.ts';
import type { Values } from './fresh-project.ts';

/** An object as the YAML has it. */
export interface KubernetesObject {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string> };
  rules?: { apiGroups: string[]; resources: string[]; verbs: string[] }[];
  roleRef?: object;
  subjects?: object[];
}

const rbac = 'rbac.authorization.k8s.io/v1';
const kinds: Record<string, { apiVersion: string; kind: string }> = {
  kubernetes_namespace_v1: { apiVersion: 'v1', kind: 'Namespace' },
  kubernetes_cluster_role_v1: { apiVersion: rbac, kind: 'ClusterRole' },
  kubernetes_cluster_role_binding_v1: { apiVersion: rbac, kind: 'ClusterRoleBinding' },
  kubernetes_role_v1: { apiVersion: rbac, kind: 'Role' },
  kubernetes_role_binding_v1: { apiVersion: rbac, kind: 'RoleBinding' },
};

/** A cluster as the kubernetes provider meets it. It keeps what it is sent, and knows nothing that is sent twice. */
export class RbacCluster implements Place {
  readonly #objects = new Map<string, { type: string; values: Values }>();

  /** What is there, as the YAML would have it. */
  get objects(): KubernetesObject[] {
    return [...this.#objects.values()].map(({ type, values }) => toObject(type, values));
  }

  async create(type: string, values: Values): Promise<Values> {
    const { kind, metadata } = toObject(type, values);
    const id = [kind, metadata.namespace, metadata.name].filter(Boolean).join('/');
    if (this.#objects.has(id)) throw new Error(`${id} already exists`);
    // The id of an object whose type is open is not in its schema.
    const made = type === 'kubernetes_manifest' ? values : { ...values, id };
    this.#objects.set(id, { type, values: made });
    return made;
  }

  async update(type: string, values: Values): Promise<Values> {
    const { kind, metadata } = toObject(type, values);
    this.#objects.set([kind, metadata.namespace, metadata.name].filter(Boolean).join('/'), { type, values });
    return values;
  }

  async remove(type: string, values: Values): Promise<void> {
    const { kind, metadata } = toObject(type, values);
    this.#objects.delete([kind, metadata.namespace, metadata.name].filter(Boolean).join('/'));
  }

  read(_type: string, values: Values): Values {
    return values;
  }

  readData(type: string): Values {
    throw new Error(`the module reads no data, but asked for ${type}`);
  }
}

/** The object that the provider would send for a resource. */
function toObject(type: string, values: Values): KubernetesObject {
  if (type === 'kubernetes_manifest') {
    const [, manifest] = values['manifest'] as [Buffer, Value];
    return manifest as unknown as KubernetesObject;
  }
  const { metadata, rule = [], role_ref: roleRef = [], subject = [] } = values as Record<string, Values[]>;
  const [named = {}] = metadata ?? [];
  return {
    ...(kinds[type] ?? { apiVersion: type, kind: type }),
    metadata: pick(named, { name: 'name', namespace: 'namespace', labels: 'labels' }) as never,
    ...(rule.length > 0 && {
      rules: rule.map((each) =>
        pick(each, { api_groups: 'apiGroups', resources: 'resources', verbs: 'verbs' }),
      ) as never,
    }),
    ...(roleRef[0] && { roleRef: pick(roleRef[0], { api_group: 'apiGroup', kind: 'kind', name: 'name' }) }),
    ...(subject.length > 0 && {
      subjects: subject.map((each) => pick(each, { api_group: 'apiGroup', kind: 'kind', name: 'name' })),
    }),
  };
}

/** The fields that are set, by the names that Kubernetes has for them. */
function pick(values: Values, names: Record<string, string>): object {
  return Object.fromEntries(
    Object.entries(names).flatMap(([from, to]) => {
      const value = values[from];
      return value === null || value === undefined || value === '' ? [] : [[to, value]];
    }),
  );
}

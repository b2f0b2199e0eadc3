/** What deploy/rbac gives the function inside a cluster, as a test applies it: all of it, or all but one right. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parseAllDocuments } from 'yaml';
import { eventually } from './eventually.ts';
import { patchTypes } from './kubernetes-client.ts';
import type { KubernetesClient } from './kubernetes-client.ts';

/** An object of the rendered manifests. */
export interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string };
  rules?: { apiGroups: string[]; resources: string[]; verbs: string[] }[];
}

/** One verb on one resource; without a namespace it is cluster-wide. */
export interface Right {
  verb: string;
  group: string;
  resource: string;
  namespace?: string;
}

/**
 * Renders the manifests by `deploy/rbac.sh`, as an operator does.
 * @param names.uniqueId of the service account: some of its tokens have no e-mail
 * @throws where kubectl, which renders them, is not installed
 */
export async function renderRights(names: {
  email: string;
  uniqueId: string;
  namespaces: string[];
  /** It may also make the Jobs of tests. */
  acceptance?: boolean;
}): Promise<Manifest[]> {
  const script = join(import.meta.dirname, '../../deploy/rbac.sh');
  const { email, uniqueId, namespaces, acceptance = false } = names;
  const words = ['--email', email, '--unique-id', uniqueId, '--namespaces', namespaces.join(',')];
  if (acceptance) words.push('--acceptance');
  const { stdout } = await promisify(execFile)(script, words);
  return parseAllDocuments(stdout).map((document) => document.toJS() as Manifest);
}

/** Applies manifests as `kubectl apply --server-side` does; a right that they lack is taken away. */
export async function applyRights(admin: KubernetesClient, manifests: Manifest[]): Promise<void> {
  for (const manifest of manifests) {
    const options = { body: manifest, contentType: patchTypes.apply };
    const path = `${toPath(manifest)}?fieldManager=kubectl&force=true`;
    const { status, text } = await admin.request('PATCH', path, options);
    if (status >= 300) throw new Error(`applying ${manifest.kind} ${manifest.metadata.name}: ${text}`);
  }
}

/** Every right that the manifests give. */
export function listRights(manifests: Manifest[]): Right[] {
  return manifests.flatMap(({ rules = [], metadata: { namespace } }) =>
    rules.flatMap(({ apiGroups, resources, verbs }) =>
      apiGroups.flatMap((group) =>
        resources.flatMap((resource) =>
          verbs.map((verb) => ({ verb, group, resource, ...(namespace !== undefined && { namespace }) })),
        ),
      ),
    ),
  );
}

/** The same manifests without one right. */
export function withoutRight(manifests: Manifest[], right: Right): Manifest[] {
  return manifests.map((manifest) => {
    if (manifest.metadata.namespace !== right.namespace || manifest.rules === undefined) return manifest;
    const rules = manifest.rules.map((rule) =>
      rule.resources.includes(right.resource) && rule.apiGroups.includes(right.group)
        ? { ...rule, verbs: rule.verbs.filter((verb) => verb !== right.verb) }
        : rule,
    );
    // The API server takes no rule without a verb.
    return { ...manifest, rules: rules.filter(({ verbs }) => verbs.length > 0) };
  });
}

/** Waits until the API server applies a changed right, which it learns a moment later. */
export async function untilAllowed(
  admin: KubernetesClient,
  user: string,
  right: Right,
  allowed: boolean,
): Promise<void> {
  const review = {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SubjectAccessReview',
    spec: { user, resourceAttributes: right },
  };
  const path = '/apis/authorization.k8s.io/v1/subjectaccessreviews';
  await eventually(`${user} may${allowed ? '' : ' not'} ${describeRight(right)}`, async () => {
    const { status } = await admin.post<{ status?: { allowed?: boolean } }>(path, review);
    return (status?.allowed ?? false) === allowed;
  });
}

/** @example 'patch nodes', 'list pods in research' */
export function describeRight({ verb, resource, namespace }: Right): string {
  return `${verb} ${resource}${namespace === undefined ? '' : ` in ${namespace}`}`;
}

function toPath({ apiVersion, kind, metadata: { name, namespace } }: Manifest): string {
  const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const where = namespace === undefined ? '' : `/namespaces/${namespace}`;
  return `${root}${where}/${kind.toLowerCase()}s/${name}`;
}

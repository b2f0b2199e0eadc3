import { qualifiedName } from './resources.ts';
import type { Resource } from './resources.ts';

export interface StatusCause {
  reason?: string;
  message: string;
  field?: string;
}

export interface StatusDetails {
  name?: string;
  group?: string;
  kind?: string;
  uid?: string;
  causes?: StatusCause[];
  retryAfterSeconds?: number;
}

/** A failure as the API server reports it: the Status object and its HTTP code, with the texts of Kubernetes. */
export class ApiStatus extends Error {
  readonly code: number;
  readonly reason: string;
  readonly details: StatusDetails | undefined;

  constructor(code: number, reason: string, message: string, details?: StatusDetails) {
    super(message);
    this.name = 'ApiStatus';
    this.code = code;
    this.reason = reason;
    this.details = details;
  }

  toJSON(): Record<string, unknown> {
    return {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message: this.message,
      ...(this.reason && { reason: this.reason }),
      ...(this.details && { details: this.details }),
      code: this.code,
    };
  }
}

export function notFound(resource: Resource, name: string): ApiStatus {
  return new ApiStatus(
    404,
    'NotFound',
    `${qualifiedName(resource)} ${quote(name)} not found`,
    toDetails(resource, name),
  );
}

export function alreadyExists(resource: Resource, name: string): ApiStatus {
  const text = `${qualifiedName(resource)} ${quote(name)} already exists`;
  return new ApiStatus(409, 'AlreadyExists', text, toDetails(resource, name));
}

export function conflict(resource: Resource, name: string, why: string): ApiStatus {
  const text = `Operation cannot be fulfilled on ${qualifiedName(resource)} ${quote(name)}: ${why}`;
  return new ApiStatus(409, 'Conflict', text, toDetails(resource, name));
}

export function staleResourceVersion(resource: Resource, name: string): ApiStatus {
  return conflict(
    resource,
    name,
    'the object has been modified; please apply your changes to the latest version and try again',
  );
}

/** Creates the error of a failed precondition. It names the kind; all other texts name the plural. */
export function failedPrecondition(resource: Resource, name: string, why: string): ApiStatus {
  const qualifiedKind = resource.group ? `${resource.kind}.${resource.group}` : resource.kind;
  return new ApiStatus(
    409,
    'Conflict',
    `Operation cannot be fulfilled on ${qualifiedKind} ${quote(name)}: ${why}`,
    {
      name,
      ...(resource.group && { group: resource.group }),
      kind: resource.kind,
    },
  );
}

export function invalid(resource: Resource, name: string, causes: Required<StatusCause>[]): ApiStatus {
  const texts = causes.map((cause) => `${cause.field}: ${cause.message}`);
  const list = texts.length === 1 ? texts[0] : `[${texts.join(', ')}]`;
  const qualifiedKind = resource.group ? `${resource.kind}.${resource.group}` : resource.kind;
  return new ApiStatus(422, 'Invalid', `${qualifiedKind} ${quote(name)} is invalid: ${list}`, {
    name,
    ...(resource.group && { group: resource.group }),
    kind: resource.kind,
    causes,
  });
}

export function invalidValue(field: string, value: unknown, why: string): Required<StatusCause> {
  return { reason: 'FieldValueInvalid', message: `Invalid value: ${JSON.stringify(value)}: ${why}`, field };
}

export function requiredValue(field: string, why = ''): Required<StatusCause> {
  return { reason: 'FieldValueRequired', message: `Required value${why && `: ${why}`}`, field };
}

export function tooLong(field: string, why: string): Required<StatusCause> {
  return { reason: 'FieldValueTooLong', message: `Too long: ${why}`, field };
}

export function badRequest(message: string): ApiStatus {
  return new ApiStatus(400, 'BadRequest', message);
}

export function unauthorized(): ApiStatus {
  return new ApiStatus(401, 'Unauthorized', 'Unauthorized');
}

export interface Attributes {
  user: string;
  verb: string;
  group: string;
  /** With the subresource: `pods/eviction`. */
  resource: string;
  name?: string | undefined;
  namespace?: string | undefined;
}

/** Creates the error of RBAC, with its exact text. */
export function forbidden(attributes: Attributes): ApiStatus {
  const { user, verb, group, resource, name, namespace } = attributes;
  const plural = resource.split('/')[0] ?? resource;
  const qualified = group ? `${plural}.${group}` : plural;
  const scope = namespace ? `in the namespace ${quote(namespace)}` : 'at the cluster scope';
  const text =
    `${qualified}${name ? ` ${quote(name)}` : ''} is forbidden: User ${quote(user)} cannot ${verb} ` +
    `resource ${quote(resource)} in API group ${quote(group)} ${scope}`;
  return new ApiStatus(403, 'Forbidden', text, {
    ...(name && { name }),
    ...(group && { group }),
    kind: plural,
  });
}

export function forbiddenPath(user: string, path: string): ApiStatus {
  return new ApiStatus(403, 'Forbidden', `forbidden: User ${quote(user)} cannot get path ${quote(path)}`, {});
}

/** Creates the error for a resource that a group and version do not have. */
export function notServed(): ApiStatus {
  return new ApiStatus(404, 'NotFound', 'the server could not find the requested resource', {});
}

export function methodNotAllowed(): ApiStatus {
  const text = 'the server does not allow this method on the requested resource';
  return new ApiStatus(405, 'MethodNotAllowed', text, {});
}

export function unsupportedMediaType(accepted: string[]): ApiStatus {
  const text = `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}`;
  return new ApiStatus(415, 'UnsupportedMediaType', text);
}

export function notAcceptable(accepted: string[]): ApiStatus {
  return new ApiStatus(
    406,
    'NotAcceptable',
    `only the following media types are accepted: ${accepted.join(', ')}`,
  );
}

function toDetails(resource: Resource, name: string): StatusDetails {
  return { name, ...(resource.group && { group: resource.group }), kind: resource.plural };
}

function quote(text: string): string {
  return JSON.stringify(text);
}

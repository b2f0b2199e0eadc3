import type { Configuration, CoreV1ApiPatchNodeRequest, V1Node } from '@kubernetes/client-node';
import { CoreV1Api, setHeaderOptions } from '@kubernetes/client-node';
import type { HttpResponse } from './transport.ts';

/**
 * The generated API, but that patches of nodes go past the generated code, which turns every answer into models: half of
 * what cordoning thousands of nodes takes. They answer what the server sent: times are strings.
 */
export class DirectCoreV1Api extends CoreV1Api {
  readonly #nodes: string;
  readonly #perform: Perform;

  constructor(configuration: Configuration, server: string, perform: Perform) {
    super(configuration);
    this.#nodes = `${server}/api/v1/nodes`;
    this.#perform = perform;
  }

  override async patchNode(param: CoreV1ApiPatchNodeRequest, options?: Options): Promise<V1Node> {
    const headers = options && headersOf.get(options);
    if (!headers) return super.patchNode(param, options);
    const { name, body, ...parameters } = param;
    const answer = await this.#perform({
      method: 'PATCH',
      url: `${this.#nodes}/${encodeURIComponent(name)}${toQuery(parameters)}`,
      headers,
      body: JSON.stringify(body),
    });
    return answer.object as V1Node;
  }
}

type Options = ReturnType<typeof withHeaders>;

function toQuery(parameters: object): string {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined);
  return `?${given.map(([key, value]) => `${key}=${encodeURIComponent(String(value))}`).join('&')}`;
}

/** A call as it is sent, but for the credentials. */
export interface Call {
  method: string;
  url: string;
  headers: Record<string, string>;
  body: string | undefined;
}

/** An answer; `object` is what its body says, but for a long list that the generated client parses. */
export interface Answer extends HttpResponse {
  object: object | undefined;
}

export type Perform = (call: Call) => Promise<Answer>;

const headersOf = new WeakMap<object, Record<string, string>>();

/** Options that set headers on one call of the generated client. */
export function withHeaders(headers: Record<string, string>): ReturnType<typeof setHeaderOptions> {
  const options = Object.entries(headers).reduce<ReturnType<typeof setHeaderOptions>>(
    (others, [name, value]) => setHeaderOptions(name, value, others),
    {},
  );
  headersOf.set(options, headers);
  return options;
}

/** Answers of this shape carry names and labels only, a tenth of a node. */
export const metadataOnly = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json';

export const metadataListOnly =
  'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json';

import type {
  Configuration,
  CoreV1ApiListNamespacedPodRequest,
  CoreV1ApiListNodeRequest,
  CoreV1ApiPatchNodeRequest,
  V1Node,
  V1NodeList,
  V1PodList,
} from '@kubernetes/client-node';
import { CoreV1Api, setHeaderOptions } from '@kubernetes/client-node';
import { parseObject } from './kubernetes-error.ts';
import { parseInParts } from './list-text.ts';
import type { HttpResponse } from './transport.ts';

/**
 * The generated API, except that patches of nodes, and lists of nodes and pods, bypass the generated code. That code converts each
 * answer to models and chains a dozen promises for each call, which was half of the CPU time of a large cordon. 2,000 patches, 256 at
 * a time, against a local server with a delay of 20 ms: 1.95 s with the generated client, 0.60 s without (medians of 5, Node
 * 24.21, two cores). docs/decisions/0006 has the whole table and the alternatives.
 *
 * Only a patch with {@link withHeaders} and a list with {@link reducedTo} take the direct way. A patch resolves to an empty object: no
 * caller reads the answer, and to parse it took 60 of the 730 ms of CPU of a cordon of 2,304 nodes.
 */
export class DirectCoreV1Api extends CoreV1Api {
  readonly #api: string;
  readonly #perform: Perform;

  constructor(configuration: Configuration, server: string, perform: Perform) {
    super(configuration);
    this.#api = `${server}/api/v1`;
    this.#perform = perform;
  }

  override async patchNode(param: CoreV1ApiPatchNodeRequest, options?: Options): Promise<V1Node> {
    const headers = options && headersOf.get(options);
    if (!headers) return super.patchNode(param, options);
    const { name, body, ...parameters } = param;
    await this.#perform({
      method: 'PATCH',
      url: `${this.#api}/nodes/${encodeURIComponent(name)}${toQuery(parameters)}`,
      headers,
      body: JSON.stringify(body),
      isAnswerUnread: true,
    });
    return {};
  }

  /** With {@link reducedTo}, each node of a page is reduced as soon as it is parsed, and none is converted. */
  override async listNode(param: CoreV1ApiListNodeRequest = {}, options?: Options): Promise<V1NodeList> {
    const reduction = options && reductions.get(options);
    if (!reduction) return super.listNode(param, options);
    return (await this.#list('nodes', param, reduction)) as V1NodeList;
  }

  /** As {@link listNode}. */
  override async listNamespacedPod(
    param: CoreV1ApiListNamespacedPodRequest,
    options?: Options,
  ): Promise<V1PodList> {
    const reduction = options && reductions.get(options);
    if (!reduction) return super.listNamespacedPod(param, options);
    const { namespace, ...parameters } = param;
    const path = `namespaces/${encodeURIComponent(namespace)}/pods`;
    return (await this.#list(path, parameters, reduction)) as V1PodList;
  }

  async #list(path: string, param: object, { reduce, accept }: Reduction): Promise<object> {
    const { _continue: rest, ...parameters } = param as { _continue?: string };
    const answer = await this.#perform({
      method: 'GET',
      url: `${this.#api}/${path}${toQuery({ ...parameters, continue: rest })}`,
      headers: { Accept: accept },
      body: undefined,
    });
    const list = parseList(answer, reduce, path);
    return { ...list, metadata: { _continue: list.metadata?.continue } };
  }
}

/** What is kept of each object of a list. */
interface Reduction {
  reduce: (object: object) => unknown;
  accept: string;
}

interface SentList<Item> {
  metadata?: { continue?: string };
  /** Null is how the API server sends an empty list of metadata. */
  items?: Item[] | null;
}

function parseList(answer: Answer, reduce: Reduction['reduce'], path: string): SentList<unknown> {
  const inParts = answer.object ? undefined : parseInParts(answer.body, (item) => reduce(item as object));
  if (inParts) return inParts;
  const whole = answer.object ?? parseObject(answer, () => `GET /api/v1/${path}`);
  const { items, ...list } = whole as SentList<object>;
  return { ...list, items: (items ?? []).map(reduce) };
}

export type Options = ReturnType<typeof withHeaders>;

function toQuery(parameters: object): string {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined);
  return `?${given.map(([key, value]) => `${key}=${encodeURIComponent(String(value))}`).join('&')}`;
}

/** One HTTP call, without the credentials. */
export interface Call {
  method: string;
  url: string;
  headers: Record<string, string>;
  body: string | undefined;
  /** The caller only needs to know that the call worked. The answer is checked, but not parsed. */
  isAnswerUnread?: boolean;
}

/** An answer with its parsed body. */
export interface Answer extends HttpResponse {
  /** Undefined for a body of 256 KiB or more, which the caller parses itself, and for one that nobody reads. */
  object: object | undefined;
}

/** Sends a call, with retries, gate and credentials. */
export type Perform = (call: Call) => Promise<Answer>;

/** The headers behind options, because the generated client's options cannot be read. */
const headersOf = new WeakMap<object, Record<string, string>>();

/** Creates the options that set headers on one call of the generated client. */
export function withHeaders(headers: Record<string, string>): ReturnType<typeof setHeaderOptions> {
  const options = Object.entries(headers).reduce<ReturnType<typeof setHeaderOptions>>(
    (others, [name, value]) => setHeaderOptions(name, value, others),
    {},
  );
  headersOf.set(options, headers);
  return options;
}

/** What is behind options that {@link reducedTo} has made. */
const reductions = new WeakMap<object, Reduction>();

/**
 * Creates the options for a list of nodes or pods in which each is only what `reduce` keeps of it. `reduce` gets the object as the
 * server sent it, so times are strings.
 *
 * @param accept whole objects, unless it is {@link metadataListOnly}
 */
export function reducedTo(reduce: Reduction['reduce'], accept = 'application/json'): Options {
  const options = setHeaderOptions('Accept', accept);
  reductions.set(options, { reduce, accept });
  return options;
}

/** An `Accept` header: the answer has only the metadata of each object, which is a tenth of a node. */
export const metadataOnly = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json';

/** The same for a list. */
export const metadataListOnly =
  'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json';

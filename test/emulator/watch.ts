import { ApiStatus } from './api-status.ts';
import type { ClusterState } from './cluster-state.ts';
import type { HttpResponse } from './http.ts';
import { matches, parseSelection, selectObjects, tableOptions } from './kubernetes-read.ts';
import type { Selection } from './kubernetes-read.ts';
import type { KubernetesRequest } from './kubernetes-request.ts';
import type { Change } from './object-store.ts';
import { formatObject, negotiate } from './representation.ts';
import type { Representation } from './representation.ts';

type EventType = Change['type'];

/** Answers a watch: what changed since the resourceVersion given, then each change as it happens. */
export function watchObjects(state: ClusterState, request: KubernetesRequest): HttpResponse {
  // Clients name either form here; a watch sends single objects.
  const accept = request.headers['accept']?.replaceAll('PartialObjectMetadataList', 'PartialObjectMetadata');
  const representation = negotiate(accept, false);
  const selection = parseSelection(request);
  const since = request.query.get('resourceVersion') ?? '';
  const isFromNow = since === '' || since === '0';
  const missed = isFromNow ? [] : state.store.changesSince(Number(since));
  const initial = isFromNow ? selectObjects(state, request) : [];

  const stream: HttpResponse['stream'] = (send, end) => {
    let hasSentHeaders = false;
    const write = (type: EventType, object: Change['object']) => {
      send(toLine(state, request, type, object, representation, hasSentHeaders));
      hasSentHeaders = true;
    };
    const report = (change: Change) => {
      const type = toEventType(change, request, selection);
      if (type) write(type, change.object);
    };
    if (!missed) {
      const gone = new ApiStatus(
        410,
        'Expired',
        `too old resource version: ${since} (${state.store.revision})`,
      );
      send(`${JSON.stringify({ type: 'ERROR', object: gone })}\n`);
      end();
      return () => {};
    }
    for (const object of initial) write('ADDED', object);
    for (const change of missed) report(change);
    return state.store.onChange(report);
  };
  return { status: 200, headers: { 'content-type': 'application/json' }, body: '', stream };
}

/** An object that a change brings into the selection was added for this watch, one that leaves it deleted. */
function toEventType(
  change: Change,
  request: KubernetesRequest,
  selection: Selection,
): EventType | undefined {
  if (change.plural !== request.resource.plural) return undefined;
  if (request.namespace && change.object.metadata.namespace !== request.namespace) return undefined;
  const was = change.previous !== undefined && matches(change.previous, selection);
  if (change.type === 'DELETED') return was ? 'DELETED' : undefined;
  const is = matches(change.object, selection);
  if (was && is) return 'MODIFIED';
  if (is) return 'ADDED';
  return was ? 'DELETED' : undefined;
}

function toLine(
  state: ClusterState,
  request: KubernetesRequest,
  type: EventType,
  object: Change['object'],
  representation: Representation,
  withoutHeaders: boolean,
): string {
  const options = { ...tableOptions(state, request), withoutHeaders };
  return `{"type":"${type}","object":${formatObject(request.resource, object, representation, options)}}\n`;
}

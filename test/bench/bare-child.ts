// The other side of bare-client.ts: undici and nothing else, in a process of its own, as the function is.
import { Agent } from 'undici';
import type { BareAnswer, BareQuestion } from './bare-client.ts';

interface Server {
  origin: string;
  ca: string;
  token: string;
}

interface NodeName {
  name: string;
  uid: string;
}

let warm: { server: Server; agent: Agent } | undefined;

process.on('message', (question: BareQuestion) => {
  void answer(question).then((answered) => process.send?.(answered));
});
process.on('disconnect', () => process.exit(0));

async function answer(question: BareQuestion): Promise<BareAnswer> {
  if (question.ask === 'patches') return sendPatches(question.concurrency);
  warm ??= await connect();
  const { server, agent } = warm;
  const startedAt = performance.now();
  for (let call = 0; call < question.count; call++) await send(agent, server, get(question.path));
  return { ms: performance.now() - startedAt, count: question.count };
}

/** Patches every node of slice-a as the function does, over a connection that is opened for it, and reads no fresh list. */
async function sendPatches(concurrency: number): Promise<BareAnswer> {
  const { server, agent: lister } = await connect();
  const nodes = await listNodes(lister, server);
  await lister.close();
  const startedAt = performance.now();
  const agent = openAgent(server);
  let next = 0;
  const work = async (): Promise<void> => {
    for (let node = nodes[next++]; node; node = nodes[next++]) await send(agent, server, cordon(node));
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  const ms = performance.now() - startedAt;
  await agent.close();
  return { ms, count: nodes.length };
}

async function listNodes(agent: Agent, server: Server): Promise<NodeName[]> {
  const path = `/api/v1/nodes?labelSelector=${encodeURIComponent('cloud.google.com/gke-nodepool=slice-a')}`;
  const { items } = JSON.parse(await send(agent, server, get(path))) as { items: { metadata: NodeName }[] };
  return items.map(({ metadata: { name, uid } }) => ({ name, uid }));
}

async function connect(): Promise<{ server: Server; agent: Agent }> {
  const server = await findServer();
  return { server, agent: openAgent(server) };
}

function openAgent({ ca }: Server): Agent {
  // As the function has it: one page has megabytes.
  const windowBytes = 4 * 1024 * 1024;
  return new Agent({
    connect: { ca },
    connections: 32,
    h2Options: { settings: { initialWindowSize: windowBytes }, connectionWindowSize: windowBytes },
  });
}

/** Asks the metadata server for a token, and the Container API where the cluster is. */
async function findServer(): Promise<Server> {
  const {
    CLUSTERS = '',
    CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER: container = '',
    GCE_METADATA_HOST: metadata = '',
  } = process.env;
  const tokenUrl = `http://${metadata}/computeMetadata/v1/instance/service-accounts/default/token`;
  const asked = await fetch(tokenUrl, { headers: { 'Metadata-Flavor': 'Google' } });
  const { access_token: token } = (await asked.json()) as { access_token: string };
  const found = await fetch(`${container}v1/${CLUSTERS}`, { headers: { Authorization: `Bearer ${token}` } });
  const cluster = (await found.json()) as {
    endpoint: string;
    masterAuth: { clusterCaCertificate: string };
  };
  const ca = Buffer.from(cluster.masterAuth.clusterCaCertificate, 'base64').toString();
  return { origin: `https://${cluster.endpoint}`, ca, token };
}

interface Call {
  method: 'GET' | 'PATCH';
  path: string;
  headers: Record<string, string>;
  body: string | null;
}

function get(path: string): Call {
  const Accept = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json';
  return { method: 'GET', path, headers: { Accept }, body: null };
}

function cordon({ name, uid }: NodeName): Call {
  return {
    method: 'PATCH',
    path: `/api/v1/nodes/${name}?fieldManager=autometric-failover&force=true`,
    headers: {
      'Content-Type': 'application/apply-patch+yaml',
      Accept: 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json',
    },
    body: JSON.stringify({
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name, uid, annotations: { 'autometric-failover/action-id': 'bare' } },
      spec: { unschedulable: true },
    }),
  };
}

/** Sends a call. @returns the body of its answer */
function send(agent: Agent, { origin, token }: Server, call: Call): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const chunks: Buffer[] = [];
  let status = 0;
  const headers = { ...call.headers, Authorization: `Bearer ${token}` };
  agent.dispatch(
    { ...call, origin, headers },
    {
      onRequestStart: () => undefined,
      onResponseStart: (_, statusCode) => void (status = statusCode),
      onResponseData: (_, chunk) => void chunks.push(chunk),
      onResponseError: (_, error) => reject(error),
      onResponseEnd() {
        const body = Buffer.concat(chunks).toString();
        if (status === 200) resolve(body);
        else reject(new Error(`${call.method} ${call.path}: ${status} ${body}`));
      },
    },
  );
  return promise;
}

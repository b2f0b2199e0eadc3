import { Server, ServerCredentials, loadPackageDefinition } from '@grpc/grpc-js';
import type {
  ServiceClientConstructor,
  ServiceDefinition,
  sendUnaryData,
  ServerUnaryCall,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { readFile } from 'node:fs/promises';
import type { FreshProject } from './fresh-project.ts';
import type { Attribute, Block, NestedBlock, Provider } from './provider-schema.ts';
import { createStandIn } from './stand-in-provider.ts';

/**
 * Serves Terraform the schemas of its providers, and nothing else: enough for the real `terraform validate`, and for
 * `terraform test` with `mock_provider`, with no registry and no `init`.
 *
 * `environment` makes a terraform process use them. What the real providers check beyond types is not checked.
 *
 * @param project is where resources are made; without one, nothing can be planned or applied
 */
export async function serveSchemaProviders(project?: FreshProject): Promise<{
  environment: Record<string, string>;
  close: () => void;
}> {
  const schemas = JSON.parse(
    await readFile(new URL('provider-schemas.json', import.meta.url), 'utf8'),
  ) as ProviderSchemas;
  const servers = await Promise.all(
    Object.values(schemas.providers).map((provider) => serveProvider(provider, project)),
  );
  const reattach = Object.keys(schemas.providers).map((name, index) => [
    `registry.terraform.io/${name}`,
    {
      Protocol: 'grpc',
      ProtocolVersion: 5,
      Pid: process.pid,
      Test: true,
      Addr: { Network: 'tcp', String: `127.0.0.1:${servers[index]?.port}` },
    },
  ]);
  return {
    environment: { TF_REATTACH_PROVIDERS: JSON.stringify(Object.fromEntries(reattach)) },
    close: () => servers.forEach(({ server }) => server.forceShutdown()),
  };
}

interface ProviderSchemas {
  providers: Record<string, Provider>;
}

async function serveProvider(
  provider: Provider,
  project?: FreshProject,
): Promise<{ server: Server; port: number }> {
  const definition = loadSync(new URL('tfplugin5.proto', import.meta.url).pathname, { keepCase: true });
  const { Provider } = loadPackageDefinition(definition)['tfplugin5'] as unknown as {
    Provider: ServiceClientConstructor;
  };
  const schema = {
    provider: { block: toBlock(provider.config) },
    resource_schemas: mapValues(provider.resource, (block) => ({ block: toBlock(block) })),
    data_source_schemas: mapValues(provider.data, (block) => ({ block: toBlock(block) })),
  };
  // Terraform asks for the schema a hundred times in one run of a test, so it is serialized once.
  const { GetSchema } = Provider.service;
  const serialized = GetSchema?.responseSerialize(schema);
  const service = { ...Provider.service, GetSchema: { ...GetSchema, responseSerialize: () => serialized } };
  const server = new Server({ 'grpc.max_send_message_length': -1 });
  server.addService(service as ServiceDefinition, {
    GetSchema: answer(() => ({})),
    PrepareProviderConfig: answer(({ config }) => ({ prepared_config: config })),
    ValidateResourceTypeConfig: answer(() => ({})),
    ValidateDataSourceConfig: answer(() => ({})),
    Configure: answer(() => ({})),
    Stop: answer(() => ({})),
    ...mapValues(project ? createStandIn(project, provider) : {}, (respond) => answerLater(respond)),
  });
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
      error ? reject(error) : resolve(port),
    ),
  );
  return { server, port };
}

function answer(respond: (request: { config?: unknown }) => object) {
  return (call: ServerUnaryCall<{ config?: unknown }, object>, callback: sendUnaryData<object>) =>
    callback(null, respond(call.request));
}

function answerLater(respond: (request: never) => Promise<object>) {
  return async (call: ServerUnaryCall<unknown, object>, callback: sendUnaryData<object>) => {
    try {
      const answered = await respond(call.request as never);
      callback(null, answered);
    } catch (error) {
      callback(error as Error);
    }
  };
}

function toBlock(block: Block): object {
  const entries = Object.entries(block);
  return {
    attributes: entries.flatMap(([name, value]) => (Array.isArray(value) ? [toAttribute(name, value)] : [])),
    block_types: entries.flatMap(([name, value]) =>
      Array.isArray(value) ? [] : [toNestedBlock(name, value)],
    ),
  };
}

function toAttribute(name: string, [type, flags]: Attribute): object {
  return {
    name,
    type: Buffer.from(JSON.stringify(type)),
    required: flags.includes('r'),
    optional: flags.includes('o'),
    computed: flags.includes('c'),
    sensitive: flags.includes('s'),
    write_only: flags.includes('w'),
  };
}

const nestingNumbers = { single: 1, list: 2, set: 3 };

function toNestedBlock(name: string, { nesting, min = 0, max = 0, block }: NestedBlock): object {
  return {
    type_name: name,
    nesting: nestingNumbers[nesting],
    min_items: min,
    max_items: max,
    block: toBlock(block),
  };
}

function mapValues<T, U>(record: Record<string, T>, map: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
}

import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Plugin } from 'esbuild';

/**
 * Reduces the generated Kubernetes client to the methods that are called and the models that they reach. A method is kept
 * when its name is anywhere in the source, so that nothing that is called can be missing.
 *
 * @param source is all of the function's source
 * @throws {Error} when the generated code does not look as expected any more
 */
export function reduceKubernetesClient(root: string, source: string): Plugin {
  const client = join(root, 'node_modules/@kubernetes/client-node/dist');
  const words = new Set(source.match(/\w+/g));
  return {
    name: 'reduce-kubernetes-client',
    setup(build) {
      const models = reachModels(client, words);
      build.onResolve({ filter: /^@kubernetes\/client-node$/ }, () => ({
        path: 'index',
        namespace: 'kubernetes-client',
      }));
      build.onLoad({ filter: /.*/, namespace: 'kubernetes-client' }, () => ({
        contents: ['gen/index.js', 'types.js', 'middleware.js']
          .map((module) => `export * from '${join(client, module)}';`)
          .join('\n'),
        resolveDir: root,
      }));
      build.onResolve({ filter: /^\.{1,2}\//, namespace: 'file' }, ({ path, resolveDir }) =>
        // The package does not say so, but its import has no side effects, so unused code can go.
        resolveDir.startsWith(join(client, 'gen'))
          ? { path: join(resolveDir, path), sideEffects: false }
          : undefined,
      );
      build.onLoad({ filter: /client-node\/dist\/gen\/(apis|types)\/\w+\.js$/ }, async ({ path }) => ({
        contents: dropMethods(await readFile(path, 'utf8'), words),
      }));
      build.onLoad({ filter: /client-node\/dist\/gen\/models\/ObjectSerializer\.js$/ }, async ({ path }) => ({
        contents: dropModels(await readFile(path, 'utf8'), models),
      }));
      build.onLoad({ filter: /client-node\/dist\/gen\/http\/isomorphic-fetch\.js$/ }, () => ({
        contents: noFetch,
      }));
    },
  };
}

/** The function has its own transport. The client's would add all of undici. */
const noFetch = `
  export class IsomorphicFetchHttpLibrary {
    send() { throw new Error('the Kubernetes client was given no httpApi'); }
  }
`;

/** Removes the methods of generated classes that are not called. In the generator's layout each method is a block. */
function dropMethods(code: string, words: Set<string>): string {
  const kept: string[] = [];
  let isDropping = false;
  for (const line of code.split('\n')) {
    const [, name] = /^ {4}(?:async )?([a-z]\w*)\(.*\) \{$/.exec(line) ?? [];
    if (name !== undefined) isDropping = name !== 'constructor' && !words.has(toMethodName(name));
    if (!isDropping) kept.push(line);
    if (line === '    }') isDropping = false;
  }
  return kept.join('\n');
}

/** Each method has a second form that also returns the response. */
function toMethodName(name: string): string {
  return name.replace(/WithHttpInfo$/, '');
}

/** Leaves out the models that are not reached from the table that the (de)serializer goes by. */
function dropModels(code: string, models: Set<string>): string {
  return code.replaceAll(/^ {4}"(\w+)": \w+,?\n/gm, (line, name: string) => (models.has(name) ? line : ''));
}

/** Finds the models that the called methods take or return, and the models inside them. */
function reachModels(client: string, words: Set<string>): Set<string> {
  const read = (module: string) => readFileSync(join(client, 'gen', module), 'utf8');
  const known = new Set(
    read('models/ObjectSerializer.js')
      .matchAll(/^ {4}"(\w+)": \w+,?$/gm)
      .map(([, name]) => name),
  );
  const apis = read('index.js')
    .matchAll(/ as (\w+Api)\b/g)
    .map(([, api = '']) => api)
    .filter((api) => words.has(api));
  const left = apis.toArray().flatMap((api) => mentions(dropMethods(read(`apis/${api}.js`), words), known));
  const reached = new Set<string>();
  for (let model = left.pop(); model !== undefined; model = left.pop()) {
    if (reached.has(model)) continue;
    reached.add(model);
    left.push(...mentions(read(`models/${model}.js`), known));
  }
  if (!reached.has('V1ObjectMeta')) throw new Error('no model of the Kubernetes client was recognised');
  return reached;
}

function mentions(code: string, models: Set<string | undefined>): string[] {
  return code
    .matchAll(/"([^"\n]+)"/g)
    .flatMap(([, type = '']) => type.match(/\w+/g) ?? [])
    .filter((word) => models.has(word))
    .toArray();
}

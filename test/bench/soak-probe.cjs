// Loaded into the function's process by NODE_OPTIONS: once a second it collects garbage and writes down what is left.
const { appendFileSync } = require('node:fs');

const path = process.env.SOAK_PROBE_FILE;
if (path !== undefined) setInterval(() => probe(path), Number(process.env.SOAK_PROBE_EVERY_MS)).unref();

function probe(path) {
  global.gc();
  const { rss, heapUsed, external } = process.memoryUsage();
  const resources = {};
  for (const name of process.getActiveResourcesInfo()) resources[name] = (resources[name] ?? 0) + 1;
  const listeners = {};
  for (const name of process.eventNames()) listeners[String(name)] = process.listenerCount(name);
  appendFileSync(
    path,
    `${JSON.stringify({ at: Date.now(), rss, heapUsed, external, resources, listeners })}\n`,
  );
}

// The only module that has effects at import: it checks the settings and registers the function that this instance runs.
import domain from 'node:domain';
import type { Domain } from 'node:domain';
import { http } from '@google-cloud/functions-framework';
import { checkLogRules } from './alert/check-log-rules.ts';
import type { FunctionName } from './request/route.ts';
import { keepRawBodies } from './request/body.ts';
import { ConfigError, readConfig, readWebhookCredentials } from './config.ts';
import { keepMetadataOffProxy } from './gke/google.ts';
import { createHandler } from './handler.ts';
import type { Handler } from './handler.ts';
import { createLog } from './log.ts';
import { createServices } from './services.ts';

const webhookTarget = 'failoverWebhook';
const names: FunctionName[] = ['failover', webhookTarget, 'failoverStatus'];
const target = process.env['FUNCTION_TARGET'] ?? 'failover';
const name = names.find((known) => known === target) ?? 'failover';
const log = createLog();

const handler = start();
keepRawBodies();
keepMetadataOffProxy(process.env);
runWithoutDomains();
http(name, async (request, response) => {
  drainOnTerm(handler);
  await handler.handle(request, response);
});

function start(): Handler {
  try {
    const config = readConfig(process.env);
    checkLogRules(config);
    const projectId = process.env['GOOGLE_CLOUD_PROJECT'] ?? config.clusters[0]?.projectId;
    const webhook = target === webhookTarget ? { webhook: readWebhookCredentials(process.env) } : {};
    return createHandler({ services: createServices(config), log, projectId, name, ...webhook });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    log.error('failed', error.message);
    return process.exit(1);
  }
}

/**
 * Makes the framework run requests outside Node's domains (docs/decisions/0005). Once one domain exists, Node watches
 * every promise and every event of the process, which is a third of the CPU time of the cordon of a large pool. The
 * domain's only use is to answer an error that is thrown outside all promises with a bare 500, while the action keeps
 * running, unobserved, and still holds the lock. Without the domain such an error ends the instance, and the same request
 * resumes the action.
 */
function runWithoutDomains(): void {
  const none = { on: () => none, run: (work: () => unknown) => work() };
  domain.create = () => none as unknown as Domain;
}

let isDraining = false;

/**
 * Replaces the framework's SIGTERM handler, which exits at once, by one that first finishes the requests in flight. The
 * framework installs its handler when it starts to listen. The first request comes after that, so it calls this function.
 */
function drainOnTerm(handler: Handler): void {
  if (isDraining) return;
  isDraining = true;
  process.removeAllListeners('SIGTERM');
  process.once('SIGTERM', () => {
    log.info('warning', 'SIGTERM: finishing the requests in flight');
    void handler.shutDown().finally(() => process.exit(0));
  });
}

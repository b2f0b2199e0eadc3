// The one module with effects at import: it registers the function that this instance runs, and checks its settings.
import domain from 'node:domain';
import type { Domain } from 'node:domain';
import { http } from '@google-cloud/functions-framework';
import { keepRawBodies } from './request/body.ts';
import { ConfigError, readConfig, readWebhookCredentials } from './config.ts';
import { createHandler } from './handler.ts';
import type { Handler } from './handler.ts';
import { createLog } from './log.ts';
import { createServices } from './services.ts';

const webhookTarget = 'failoverWebhook';
const target = process.env['FUNCTION_TARGET'] ?? 'failover';
const log = createLog();

const handler = start();
keepRawBodies();
runWithoutDomains();
http(target === webhookTarget ? webhookTarget : 'failover', async (request, response) => {
  drainOnTerm(handler);
  await handler.handle(request, response);
});

function start(): Handler {
  try {
    const config = readConfig(process.env);
    const projectId = process.env['GOOGLE_CLOUD_PROJECT'] ?? config.clusters[0]?.projectId;
    const webhook = target === webhookTarget ? { webhook: readWebhookCredentials(process.env) } : {};
    return createHandler({ services: createServices(config), log, projectId, ...webhook });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    log.error('failed', error.message);
    return process.exit(1);
  }
}

/**
 * Has the framework run requests outside of Node's domains. A domain watches every promise and every event of the process
 * from then on, a third of what the cordon of a large pool takes; all that it does is to answer an error that was thrown
 * outside them with a bare 500, while the action goes on unobserved, with the lock in its hand. Without it such an error
 * ends the instance, and the same request resumes.
 */
function runWithoutDomains(): void {
  const none = { on: () => none, run: (work: () => unknown) => work() };
  domain.create = () => none as unknown as Domain;
}

let isDraining = false;

/**
 * Lets a SIGTERM drain. The framework installs its own handler once it listens, which exits at once; so the first
 * request, which comes after that, puts this one in its place.
 */
function drainOnTerm(handler: Handler): void {
  if (isDraining) return;
  isDraining = true;
  process.removeAllListeners('SIGTERM');
  process.once('SIGTERM', () => {
    log.info('warning', 'SIGTERM: finishing what is under way');
    void handler.shutDown().finally(() => process.exit(0));
  });
}

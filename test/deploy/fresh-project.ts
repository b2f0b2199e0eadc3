import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Value } from './msgpack.ts';

export type Values = Record<string, Value>;

/** What Google answers instead of a resource. */
export class Refusal extends Error {}

/** How many milliseconds a second of Google takes here. */
const msPerSecond = 20;

/** Seconds until Google has done everywhere what it has answered with success. */
const arrivesAfter = { api: 60, agent: 60, grant: 60 };

/** The API that a resource is made through. */
const apiOf: Record<string, string> = {
  google_cloud_run_service_iam_member: 'run',
  google_cloud_scheduler_job: 'cloudscheduler',
  google_cloudfunctions2_function: 'cloudfunctions',
  google_logging_metric: 'logging',
  google_logging_project_sink: 'logging',
  google_monitoring_alert_policy: 'monitoring',
  google_monitoring_dashboard: 'monitoring',
  google_monitoring_notification_channel: 'monitoring',
  google_project: 'cloudresourcemanager',
  google_project_iam_custom_role: 'iam',
  google_project_iam_member: 'cloudresourcemanager',
  google_pubsub_subscription: 'pubsub',
  google_pubsub_subscription_iam_member: 'pubsub',
  google_pubsub_topic: 'pubsub',
  google_pubsub_topic_iam_member: 'pubsub',
  google_secret_manager_secret: 'secretmanager',
  google_secret_manager_secret_iam_member: 'secretmanager',
  google_secret_manager_secret_version: 'secretmanager',
  google_service_account: 'iam',
  google_service_account_iam_member: 'iam',
  google_storage_bucket: 'storage',
  google_storage_bucket_object: 'storage',
};

const projectNumber = '123456789012';
const buildRoles = ['roles/artifactregistry.writer', 'roles/logging.logWriter', 'roles/storage.objectViewer'];

interface Resource {
  type: string;
  values: Values;
  madeAt: number;
}

/**
 * A Google Cloud project in which nothing is enabled and nothing was ever made, as a provider meets it. It is late where
 * Google is late: an API, a service agent and a grant are there some time after the answer that made them.
 */
export class FreshProject {
  readonly resources = new Map<string, Resource>();
  /** What was refused, in Google's words. */
  readonly refusals: string[] = [];
  readonly #enabledAt = new Map<string, number>();
  readonly #startedAt = performance.now();
  #firstChannelAt: number | undefined;
  #made = 0;

  get #now(): number {
    return (performance.now() - this.#startedAt) / msPerSecond;
  }

  /** @throws {Refusal} */
  async create(type: string, values: Values): Promise<Values> {
    await this.#take(1);
    if (type === 'time_sleep') {
      await this.#take(Number.parseFloat(text(values['create_duration'])));
      return { ...values, id: `sleep-${++this.#made}` };
    }
    if (type === 'google_project_service') {
      const service = text(values['service']);
      if (!this.#enabledAt.has(service)) this.#enabledAt.set(service, this.#now);
      // They stay enabled, and count as left behind by nobody.
      return { ...values, id: `${text(values['project'])}/${service}` };
    }
    this.#requireApi(type, values);
    this.#requireMember(type, values);
    if (type === 'google_cloudfunctions2_function') {
      this.#requireGrants(values);
      await this.#take(60);
    }
    if (text(values['type']) === 'pubsub') this.#firstChannelAt ??= this.#now;
    const made = this.#fillIn(type, values);
    this.resources.set(`${type} ${text(made['id'])}`, { type, values: made, madeAt: this.#now });
    return made;
  }

  async update(type: string, values: Values): Promise<Values> {
    await this.#take(1);
    const key = `${type} ${text(values['id'])}`;
    const before = this.resources.get(key);
    const made = type === 'google_monitoring_dashboard' ? normalized(values) : values;
    if (before) this.resources.set(key, { ...before, values: made });
    return made;
  }

  async remove(type: string, values: Values): Promise<void> {
    await this.#take(1);
    this.resources.delete(`${type} ${text(values['id'])}`);
  }

  read(type: string, values: Values): Values | null {
    if (type === 'time_sleep' || type === 'google_project_service') return values;
    return this.resources.get(`${type} ${text(values['id'])}`)?.values ?? null;
  }

  /** @throws {Refusal} */
  readData(type: string, config: Values): Values {
    if (type === 'archive_file') {
      const sha256 = createHash('sha256').update(JSON.stringify(config['source'])).digest('hex');
      return { ...config, id: sha256, output_sha256: sha256 };
    }
    this.#requireApi(type, { project: config['project_id'] ?? null });
    return { ...config, id: `projects/${text(config['project_id'])}`, number: projectNumber };
  }

  async #take(seconds: number): Promise<void> {
    await delay(seconds * msPerSecond);
  }

  #refuse(message: string): never {
    this.refusals.push(message);
    throw new Refusal(message);
  }

  #requireApi(type: string, { project }: Values): void {
    const api = `${apiOf[type] ?? `unknown API of ${type}`}.googleapis.com`;
    const enabledAt = this.#enabledAt.get(api);
    // Another project is one that has clusters already. Where none is named, it is the provider's.
    if (text(project) !== 'my-project' && text(project) !== '') return;
    if (enabledAt !== undefined && this.#now >= enabledAt + arrivesAfter.api) return;
    this.#refuse(
      `Error 403: ${api} has not been used in project my-project before or it is disabled (${type})`,
    );
  }

  #requireMember(type: string, { member }: Values): void {
    const [, agent] = /@(gcp-sa-[a-z-]+)\.iam/.exec(text(member)) ?? [];
    if (!type.endsWith('_iam_member') || agent === undefined) return;
    const bornAt =
      agent === 'gcp-sa-pubsub' ? this.#enabledAt.get('pubsub.googleapis.com') : this.#firstChannelAt;
    if (bornAt !== undefined && this.#now >= bornAt + arrivesAfter.agent) return;
    this.#refuse(`Error 400: Service account ${text(member).split(':')[1]} does not exist.`);
  }

  #requireGrants(values: Values): void {
    const [build] = values['build_config'] as Values[];
    const [service] = values['service_config'] as Values[];
    const account = text(build?.['service_account']).split('/').at(-1);
    const missing = buildRoles.filter(
      (role) => !this.#isGranted('google_project_iam_member', role, `serviceAccount:${account}`),
    );
    if (missing.length > 0) {
      this.#refuse(`Build failed: missing permission on the build service account: ${missing.join(', ')}`);
    }
    const secrets = service?.['secret_environment_variables'] as Values[];
    const runtime = `serviceAccount:${text(service?.['service_account_email'])}`;
    const role = 'roles/secretmanager.secretAccessor';
    if (secrets.length > 0 && !this.#isGranted('google_secret_manager_secret_iam_member', role, runtime)) {
      this.#refuse(`Error 403: permission denied on secret ${text(secrets[0]?.['secret'])} for ${runtime}`);
    }
  }

  #isGranted(type: string, role: string, member: string): boolean {
    return [...this.resources.values()].some(
      (each) =>
        each.type === type &&
        each.values['role'] === role &&
        each.values['member'] === member &&
        this.#now >= each.madeAt + arrivesAfter.grant,
    );
  }

  #fillIn(type: string, values: Values): Values {
    const n = ++this.#made;
    const name = text(values['account_id']) || text(values['secret_id']) || text(values['name']) || String(n);
    const email = `${name}@my-project.iam.gserviceaccount.com`;
    switch (type) {
      case 'google_service_account': {
        const id = `projects/my-project/serviceAccounts/${email}`;
        return {
          ...values,
          id,
          name: id,
          email,
          member: `serviceAccount:${email}`,
          unique_id: `10000000000000000000${n}`,
        };
      }
      case 'google_cloudfunctions2_function': {
        const [config] = values['service_config'] as Values[];
        const uri = `https://${name}-abc-uc.a.run.app`;
        return { ...values, id: `functions/${name}/${n}`, service_config: [{ ...config, uri }] };
      }
      case 'google_logging_project_sink':
        return {
          ...values,
          id: `projects/${text(values['project'])}/sinks/${name}`,
          writer_identity: `serviceAccount:service-${projectNumber}@gcp-sa-logging.iam.gserviceaccount.com`,
        };
      case 'google_monitoring_notification_channel':
        return {
          ...values,
          id: `projects/my-project/notificationChannels/${n}`,
          name: `projects/my-project/notificationChannels/${n}`,
        };
      case 'google_project_iam_custom_role': {
        const role = `projects/${text(values['project'])}/roles/${text(values['role_id'])}`;
        return { ...values, id: role, name: role };
      }
      case 'google_secret_manager_secret_version':
        return { ...values, id: `versions/${n}`, version: String(n) };
      case 'google_monitoring_dashboard':
        return { ...normalized(values), id: `projects/${projectNumber}/dashboards/${n}` };
      case 'google_pubsub_topic':
        return { ...values, id: `projects/my-project/topics/${name}` };
      default:
        return { ...values, id: `${type}/${name}/${n}` };
    }
  }
}

function text(value: Value | undefined): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}

/** The API stores a message and not a text: what has its default is not in the answer, and fields are in its own order. */
function normalized(values: Values): Values {
  const stored = withoutDefaults(JSON.parse(text(values['dashboard_json'])) as Value, false) as Values;
  const answered = { name: `projects/${projectNumber}/dashboards/1`, etag: '0123abcd', ...stored };
  return { ...values, dashboard_json: JSON.stringify(answered) };
}

function withoutDefaults(value: Value, isMap: boolean): Value {
  if (Array.isArray(value)) return value.map((item) => withoutDefaults(item, false));
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value)
    // A map keeps its entries.
    .filter(([, item]) => isMap || !isDefault(item))
    .map(([name, item]) => [name, withoutDefaults(item, name === 'labels')] as const);
  return Object.fromEntries(entries.toSorted(([a], [b]) => a.localeCompare(b)));
}

function isDefault(value: Value): boolean {
  return (
    value === null ||
    value === 0 ||
    value === '' ||
    value === false ||
    (Array.isArray(value) && value.length === 0)
  );
}

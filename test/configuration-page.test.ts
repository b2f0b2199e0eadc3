import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { actionTypes } from '../src/action-type.ts';
import { readConfig, readWebhookCredentials } from '../src/config.ts';
import { trainCluster } from './fixtures/train-world.ts';

interface Row {
  name: string;
  default: string;
  allowed: string;
}

const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');

/** The table of settings of docs/configuration.md. */
const rows: Row[] = [
  ...read('../docs/configuration.md').matchAll(/^\| `([A-Z_]+)` \| (.*?) \| (.*?) \|/gm),
].map(([, name = '', fallback = '', allowed = '']) => ({ name, default: fallback, allowed }));

const source = read('../src/config.ts');

/** The settings that a schema of src/config.ts names. */
function namesOf(schema: string): string[] {
  const [, body = ''] =
    new RegExp(`^const ${schema} = v\\.object\\(\\{\n(.*?)^\\}\\);`, 'ms').exec(source) ?? [];
  return [...body.matchAll(/^ {2}([A-Z_]+): /gm)].map(([, name]) => name ?? '');
}

const minimal = { CLUSTERS: trainCluster };

/** The row's default, where it is a value that could be set. */
const literal = ({ default: text }: Row) => /^`(.+)`$/.exec(text)?.[1];

const messageOf = (read: () => unknown): string => {
  try {
    read();
    return '';
  } catch (error) {
    return (error as Error).message;
  }
};

describe('the table of settings', () => {
  it('has each setting of the schemas once, and no other', () => {
    const names = [...namesOf('settingsSchema'), ...namesOf('webhookSchema')];
    expect(names).to.have.length.above(13);
    // Read where the log is made: it is no setting of the function's own.
    expect(rows.map(({ name }) => name)).to.have.members([...names, 'GOOGLE_CLOUD_PROJECT']);
  });

  it('has the defaults that apply when nothing is set', () => {
    const unset = readConfig(minimal);
    const set = rows.flatMap((row) => {
      const value = literal(row);
      return value === undefined || value === 'ALLOWED_ACTIONS' ? [] : [[row.name, value] as const];
    });
    expect(set.map(([name]) => name)).to.include.members([
      'ALLOWED_NAMESPACES',
      'COOLDOWN_SECONDS',
      'MAX_POOLS_PER_HOUR',
      'MAX_ATTEMPTS_PER_DAY',
      'MAX_ALERT_AGE_SECONDS',
      'ACTION_DEADLINE_SECONDS',
      'CORDON_CONCURRENCY',
      'GKE_ENDPOINT',
    ]);
    for (const [name, value] of set) {
      expect(readConfig({ ...minimal, [name]: value }), `${name}=${value}`).to.deep.equal(unset);
    }
  });

  it('says which of them are required, and what the others fall back to', () => {
    const required = rows.filter((row) => row.default === 'required').map(({ name }) => name);
    const missing = messageOf(() => readConfig({})) + messageOf(() => readWebhookCredentials({}));
    const named = [...missing.matchAll(/([A-Z_]+) is not set/g)].map(([, name]) => name ?? '');
    expect(required).to.have.members(named);

    const defaults = Object.fromEntries(rows.map((row) => [row.name, row.default]));
    expect(defaults).to.include({ ALLOWED_ACTIONS: 'all', ALERT_ACTIONS: 'as `ALLOWED_ACTIONS`' });
    expect(readConfig(minimal).allowedActions).to.deep.equal([...actionTypes]);
    const narrowed = readConfig({ ...minimal, ALLOWED_ACTIONS: 'cordon_nodepool' });
    expect(narrowed.alertActions).to.deep.equal(['cordon_nodepool']);
  });

  it('has the bounds of the numbers', () => {
    const bounded = rows.flatMap(({ name, allowed }) => {
      const [, min, max] = /^(\d+) to (\d+)$/.exec(allowed) ?? [];
      return min === undefined || max === undefined ? [] : [{ name, min: Number(min), max: Number(max) }];
    });
    expect(bounded).to.have.length(11);
    for (const { name, min, max } of bounded) {
      for (const value of [min, max]) {
        expect(
          messageOf(() => readConfig({ ...minimal, [name]: String(value) })),
          name,
        ).to.equal('');
      }
      for (const value of [min - 1, max + 1]) {
        expect(
          messageOf(() => readConfig({ ...minimal, [name]: String(value) })),
          name,
        ).to.include(name);
      }
    }
  });

  it('has the endpoints that may be chosen', () => {
    const allowed = rows.find(({ name }) => name === 'GKE_ENDPOINT')?.allowed ?? '';
    const choices = [...allowed.matchAll(/`(\w+)`/g)].map(([, choice]) => choice ?? '');
    const message = messageOf(() => readConfig({ ...minimal, GKE_ENDPOINT: 'none' }));
    expect(choices.length).to.be.above(1);
    expect(choices).to.have.members(
      [...message.replace(/.*must be /, '').matchAll(/\b(?!or\b)\w+/g)].map(([name]) => name),
    );
  });
});

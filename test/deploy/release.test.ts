import { expect } from 'chai';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { release, requireChanges } from '../../deploy/release.ts';
import { zip } from '../../deploy/zip.ts';
import { parse } from 'yaml';
import { onEmulatedGke } from './emulated-gke.ts';
import { serveGoogleCloud } from './google-cloud.ts';
import { needs, root, run } from './run.ts';
import { unzip } from './unzip.ts';

interface PackageJson {
  version: string;
  main: string;
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
}

const readJson = async (path: string) => JSON.parse(await readFile(join(root, path), 'utf8')) as PackageJson;

describe('npm run release', function () {
  this.timeout(180_000);
  let directory: string;
  let version: string;
  let files: Map<string, Buffer>;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'release-'));
    ({ version } = await readJson('package.json'));
    await release(directory, () => undefined);
    files = unzip(await readFile(join(directory, `autometric-failover-${version}.zip`)));
  });
  after(() => rm(directory, { recursive: true, force: true }));

  it('makes an archive, a list of its packages, and checksums that agree', async () => {
    expect(await readdir(directory)).to.have.members([
      'SHA256SUMS',
      `autometric-failover-${version}.cdx.json`,
      `autometric-failover-${version}.zip`,
    ]);
    const { code, stdout } = await run('sha256sum', ['--check', 'SHA256SUMS'], { cwd: directory });
    expect(code, stdout).to.equal(0);
    expect(stdout.match(/: OK$/gm)).to.have.lengthOf(2);
  });

  // F-245: npm writes a random number and the time into its list.
  it('makes the same bytes the second time, elsewhere', async () => {
    const again = await mkdtemp(join(tmpdir(), 'release-again-'));
    try {
      await release(again, () => undefined);
      for (const name of await readdir(directory)) {
        const [first, second] = await Promise.all(
          [directory, again].map((each) => readFile(join(each, name))),
        );
        expect(second?.equals(first ?? Buffer.alloc(0)), name).to.equal(true);
      }
    } finally {
      await rm(again, { recursive: true });
    }
  });

  it('packs the bundle, what names it, and the licence; no source, no cache and no secret', () => {
    const others = [...files.keys()].filter((name) => !/^dist\/[\w-]+\.[cm]js$/.test(name));
    expect(others).to.have.members([
      'LICENSE',
      'deploy/build-compile-ahead.ts',
      'deploy/build-exercise.ts',
      'deploy/build-link.ts',
      'package-lock.json',
      'package.json',
    ]);
    expect([...files.keys()]).to.include('dist/index.mjs');
  });

  it('lists every package that is in the archive or comes with it, and none of development', async () => {
    const text = await readFile(join(directory, `autometric-failover-${version}.cdx.json`), 'utf8');
    const { bomFormat, metadata, components } = JSON.parse(text) as {
      bomFormat: string;
      metadata: { component: { name: string; version: string } };
      components: { group?: string; name: string; version: string }[];
    };
    expect(bomFormat).to.equal('CycloneDX');
    expect(metadata.component).to.include({ name: 'autometric-failover', version });
    const { dependencies, devDependencies } = await readJson('package.json');
    const listed = components.map(
      ({ group, name, version: at }) => `${group ? `${group}/` : ''}${name}@${at}`,
    );
    expect(listed).to.include.members(Object.entries(dependencies).map(([name, at]) => `${name}@${at}`));
    const ours = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as Lock;
    const isForDevelopmentAlone = ([name]: [string, string]) =>
      ours.packages[`node_modules/${name}`]?.dev === true;
    const unlisted = Object.entries(devDependencies).filter(isForDevelopmentAlone);
    expect(unlisted).to.have.lengthOf.at.least(8);
    for (const [name, at] of unlisted) expect(listed).not.to.include(`${name}@${at}`);
    const { packages } = JSON.parse(String(files.get('package-lock.json'))) as Lock;
    const locked = Object.entries(packages).filter(([path]) => path !== '');
    expect(locked).to.have.lengthOf.at.least(50);
    expect(listed).to.include.members(
      locked.map(([path, { version: at }]) => `${path.split('node_modules/').at(-1)}@${at}`),
    );
  });

  it('makes what the buildpack builds and runs, with the framework alone, at the versions of the lock file', async () => {
    const built = await mkdtemp(join(tmpdir(), 'released-'));
    try {
      for (const [name, data] of files) {
        await mkdir(dirname(join(built, name)), { recursive: true });
        await writeFile(join(built, name), data);
      }
      const { packages } = JSON.parse(String(files.get('package-lock.json'))) as Lock;
      const ours = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as Lock;
      for (const [path, { version: at }] of Object.entries(packages).filter(([name]) => name !== '')) {
        expect(at, path).to.equal(ours.packages[path]?.version);
        await cp(join(root, path), join(built, path), { recursive: true });
      }
      await mkdir(join(built, 'node_modules/.bin'));
      const framework = '../@google-cloud/functions-framework/build/src/main.js';
      await writeFile(join(built, 'node_modules/.bin/functions-framework'), `import '${framework}';\n`);
      const building = await run('npm', ['run', 'gcp-build'], { cwd: built });
      expect(building.code, building.stderr).to.equal(0);
      expect(building.stdout).to.include(`compiled ahead for node ${process.version}`);
      await onEmulatedGke(
        async ({ post, deployed }) => {
          const action = {
            type: 'cordon_nodepool',
            node_pool: 'slice-a',
            requestor: 'me',
            reason: 'ICI errors',
          };
          const response = await post('/actions', action);
          expect(await response.json()).to.have.nested.property('steps[0].cordoned', 16);
          expect(deployed.lines().join('\n')).not.to.include('compile cache was not used');
        },
        { directory: built },
      );
    } finally {
      await rm(built, { recursive: true, force: true });
    }
  });

  it('is deployed by deploy.sh and the real gcloud from the file, as it is', async function () {
    needs(this, 'gcloud', 'unzip');
    const cloud = await serveGoogleCloud();
    try {
      const cluster = 'projects/my-project/locations/us-central1/clusters/train';
      const archive = join(directory, `autometric-failover-${version}.zip`);
      const { code, stderr } = await run(
        'deploy/deploy.sh',
        `--project my-project --region us-central1 --clusters ${cluster} --archive ${archive}`.split(' '),
        { env: { ...cloud.environment, RETRY_SECONDS: '0', PROPAGATION_SECONDS: '0' } },
      );
      expect(code, stderr).to.equal(0);
      const uploaded = unzip(cloud.upload());
      expect([...uploaded.keys()]).to.have.members([...files.keys()]);
      for (const [name, data] of uploaded) expect(files.get(name)?.equals(data), name).to.equal(true);
    } finally {
      await cloud.close();
    }
  });
});

// F-246: a version was released whose changes were still under "Unreleased".
describe('the version', () => {
  it('is that of package.json, and the lock file has the same', async () => {
    const { version } = await readJson('package.json');
    const lock = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as Lock;
    expect([(lock as unknown as PackageJson).version, lock.packages['']?.version]).to.deep.equal([
      version,
      version,
    ]);
  });

  it('is refused unless the newest section of the changelog is its own', async () => {
    const changes = '# Changelog\n\n## 1.1.0\n\n### Added\n\n- A line.\n\n## 1.0.0\n\n- Another.\n';
    expect(() => requireChanges('1.1.0', changes)).not.to.throw();
    for (const other of ['1.0.0', '1.1', '9.9.9']) {
      expect(() => requireChanges(other, changes), other).to.throw(`is "1.1.0" and not "${other}"`);
    }
    const unreleased = changes.replace('## 1.1.0', '## Unreleased\n\n- New.\n\n## 1.1.0');
    expect(() => requireChanges('1.1.0', unreleased)).to.throw('is "Unreleased" and not');
    expect(() => requireChanges('1.2.0', `## 1.2.0\n\n${changes}`)).to.throw(
      '"1.2.0" of CHANGELOG.md has no line',
    );
  });
});

describe('what keeps the repository going', () => {
  it('runs .ci/run, and nothing else, for each change', async () => {
    const workflow = parse(await readFile(join(root, '.github/workflows/ci.yml'), 'utf8')) as {
      on: Record<string, unknown>;
      permissions: unknown;
      jobs: Record<string, { steps: { run?: string; uses?: string }[] }>;
    };
    expect(Object.keys(workflow.on)).to.include.members(['push', 'pull_request']);
    expect(workflow.permissions).to.deep.equal({ contents: 'read' });
    const steps = Object.values(workflow.jobs).flatMap((job) => job.steps);
    expect(steps.flatMap(({ run: command }) => command ?? [])).to.deep.equal(['.ci/run']);
    // What the suites skip for want of: the others are on the runner.
    expect(steps.map(({ uses = '' }) => uses.split('@')[0])).to.include.members([
      'actions/setup-go',
      'actions/setup-node',
      'hashicorp/setup-terraform',
    ]);
  });

  it('has a file for Renovate that names only packages that there are', async () => {
    const { dependencies, devDependencies } = await readJson('package.json');
    const renovate = JSON.parse(await readFile(join(root, 'renovate.json'), 'utf8')) as {
      packageRules: { matchPackageNames?: string[] }[];
    };
    const named = renovate.packageRules.flatMap(({ matchPackageNames = [] }) => matchPackageNames);
    expect(named).to.have.lengthOf.at.least(4);
    expect({ ...dependencies, ...devDependencies }).to.include.keys(named);
  });
});

interface Lock {
  packages: Record<string, { version: string; dev?: boolean }>;
}

describe('a zip', () => {
  it('has the files that were packed, and the same bytes each time', async () => {
    const files = new Map([
      ['b/ü.txt', Buffer.from('text '.repeat(1000))],
      ['a.bin', Buffer.from([0, 255, 80, 75])],
      ['empty', Buffer.alloc(0)],
    ]);
    const packed = zip(files);
    expect(unzip(packed)).to.deep.equal(files);
    expect(zip(new Map([...files].toReversed()))).to.deep.equal(packed);
    const directory = await mkdtemp(join(tmpdir(), 'zip-'));
    try {
      await writeFile(join(directory, 'x.zip'), packed);
      // Another reader, which checks the checksums, too.
      const script =
        'import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); print(z.testzip(), sorted(z.namelist()))';
      const { stdout } = await run('python3', ['-c', script, join(directory, 'x.zip')]);
      expect(stdout.trim()).to.equal("None ['a.bin', 'b/ü.txt', 'empty']");
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});

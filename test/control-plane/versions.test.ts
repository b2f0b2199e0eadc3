import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { buildKey } from './build-programs.ts';
import { kubernetesVersion, kueueModule, readVersions, testedPairs } from './versions.ts';

const here = import.meta.dirname;

describe('readVersions', () => {
  it('builds all programs of the module of this folder, unless a variable says otherwise', () => {
    const own = {
      parts: [{ directory: here, packages: ['tool'], kubernetesVersion }],
      kubernetes: kubernetesVersion,
      jobSetDirectory: here,
    };
    expect(readVersions({})).to.deep.equal(own);
    expect(readVersions({ KUBERNETES: '', JOBSET: '0.12' })).to.deep.equal(own);
  });

  it('takes Kubernetes and JobSet from modules of their own, and the rest from this one', () => {
    const { parts, kubernetes, jobSetDirectory } = readVersions({ KUBERNETES: '1.33', JOBSET: '0.8' });
    expect(kubernetes).to.equal('v1.33.13');
    expect(parts).to.deep.equal([
      {
        directory: here,
        packages: ['go.etcd.io/etcd/server/v3', 'sigs.k8s.io/kwok/cmd/kwok'],
        kubernetesVersion,
      },
      {
        directory: join(here, 'versions/kubernetes-1.33'),
        packages: ['tool'],
        kubernetesVersion: 'v1.33.13',
      },
      { directory: join(here, 'versions/jobset-0.8'), packages: ['tool'], kubernetesVersion },
    ]);
    expect(jobSetDirectory).to.equal(join(here, 'versions/jobset-0.8'));
  });

  it('leaves JobSet with this module where only Kubernetes is another', () => {
    const { parts, jobSetDirectory } = readVersions({ KUBERNETES: '1.37' });
    expect(parts[0]?.packages).to.deep.equal([
      'go.etcd.io/etcd/server/v3',
      'sigs.k8s.io/kwok/cmd/kwok',
      'sigs.k8s.io/jobset',
    ]);
    expect(jobSetDirectory).to.equal(here);
  });

  it('names the versions that there are', () => {
    expect(() => readVersions({ KUBERNETES: '1.9' })).to.throw(
      'KUBERNETES=1.9 cannot be built: there are 1.33, 1.36, 1.37',
    );
    expect(() => readVersions({ JOBSET: '0.7' })).to.throw('there are 0.8, 0.12');
  });

  it('has a module that requires the version which it names, for each pair that is tested', () => {
    for (const pair of testedPairs) {
      const { parts, jobSetDirectory } = readVersions(pair);
      const jobSet = readFileSync(join(jobSetDirectory, 'go.mod'), 'utf8');
      expect(jobSet).to.match(new RegExp(`sigs\\.k8s\\.io/jobset v${pair.JOBSET}\\.\\d+`));
      for (const { directory, kubernetesVersion } of parts.filter(({ directory }) =>
        directory.includes('kubernetes-'),
      )) {
        const module = readFileSync(join(directory, 'go.mod'), 'utf8');
        expect(module).to.include(`k8s.io/kubernetes ${kubernetesVersion} `);
        expect(module).to.include(`k8s.io/api => k8s.io/api v0${kubernetesVersion.slice(2)}\n`);
      }
    }
    const own = readFileSync(join(here, 'go.mod'), 'utf8');
    expect(own).to.include(`k8s.io/kubernetes ${kubernetesVersion} `);
  });

  it('has a module of Kueue, of the version that its folder names', () => {
    const module = readFileSync(join(kueueModule.directory, 'go.mod'), 'utf8');
    expect(kueueModule.directory).to.match(/kueue-0\.17$/);
    expect(module).to.match(/sigs\.k8s\.io\/kueue v0\.17\.\d+/);
  });

  it('has programs of its own for each pair', async () => {
    const keys = await Promise.all(
      [{}, ...testedPairs, { KUBERNETES: '1.33' }, { JOBSET: '0.8' }].map((pair) =>
        buildKey(readVersions(pair)),
      ),
    );
    expect(new Set(keys).size).to.equal(keys.length);
  });
});

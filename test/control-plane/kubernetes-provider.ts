/** Builds Terraform's provider for Kubernetes from its Go module, once, outside the repository. */
import { execFile } from 'node:child_process';
import { access, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** The newest version that Go's proxy has under the module's path: later ones have a major version and no path for it. */
const version = '1.13.4';
const path = 'github.com/hashicorp/terraform-provider-kubernetes';

/** What the module's own go.mod replaces, and a module that has moved since. */
const goMod = `module provider

go 1.26

require ${path} v${version}

replace (
	github.com/Azure/go-autorest/autorest => github.com/tombuildsstuff/go-autorest/autorest v0.10.1-0.20200416184303-d4e299a3c04a
	github.com/go-openapi/spec => github.com/go-openapi/spec v0.19.5
	github.com/moby/term => github.com/moby/term v0.0.0-20200507123241-dbdd9cc6608d
	k8s.io/cli-runtime => k8s.io/cli-runtime v0.19.1
	k8s.io/client-go => k8s.io/client-go v0.19.1
	vbom.ml/util => github.com/fvbommel/util v0.0.0-20180919145318-efcd4e0f9787
)
`;

/**
 * Answers the folder that has the provider, or why there is none. It takes about 12 minutes to build, so that is done only
 * where `REAL_PROVIDERS` is set.
 */
export async function findKubernetesProvider(): Promise<{ directory: string } | { missing: string }> {
  const cache = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  const directory = join(cache, 'autometric-failover/terraform-provider-kubernetes', version);
  const binary = join(directory, 'terraform-provider-kubernetes');
  const isThere = await access(binary).then(
    () => true,
    () => false,
  );
  if (isThere) return { directory };
  if (!process.env['REAL_PROVIDERS']) {
    return { missing: `the provider is not built: REAL_PROVIDERS=1 builds it, once, in about 12 minutes` };
  }
  const source = await mkdtemp(join(tmpdir(), 'kubernetes-provider-'));
  try {
    await writeFile(join(source, 'go.mod'), goMod);
    await mkdir(directory, { recursive: true });
    const built = join(directory, `unfinished-${process.pid}`);
    await promisify(execFile)('nice', ['-n', '10', 'go', 'build', '-mod=mod', '-o', built, path], {
      cwd: source,
      env: { ...process.env, GOWORK: 'off' },
    });
    await rename(built, binary);
    return { directory };
  } catch (error) {
    return { missing: `the provider cannot be built here: ${(error as Error).message.split('\n')[0]}` };
  } finally {
    await rm(source, { recursive: true, force: true });
  }
}

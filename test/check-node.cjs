// Runs under whatever Node is found, however old, so plain JavaScript: says what to do when npm did not put the
// pinned one (devDependency "node") first.
const wanted = require('../package.json').devDependencies.node;
if (process.version !== `v${wanted}`) {
  console.error(
    `these scripts run on Node v${wanted}, which npm installs as the package "node", but found ${process.version}:`,
  );
  console.error(
    'run "npm ci" again and look for a blocked install script ("npm install-scripts approve node" allows it)',
  );
  process.exit(1);
}

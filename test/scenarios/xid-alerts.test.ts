import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { parse } from 'yaml';
import type { LogEntry } from '../deploy/logging-query.ts';
import { parseLoggingQuery } from '../deploy/logging-query.ts';
import { AlertWorld } from '../fixtures/alert-world.ts';
import { createTrainWorld, countCordoned, nodeNames } from '../fixtures/train-world.ts';
import { createNotification } from '../fixtures/notification.ts';

const policies = new URL('../../deploy/examples/policies/', import.meta.url);
const console_ = new URL('../fixtures/serial-console-xid.json', import.meta.url);

interface Policy {
  userLabels: Record<string, string>;
  conditions: { conditionMatchedLog: { filter: string } }[];
}

interface Row {
  file: string;
  xid: string;
  outcome: string;
  label: [key: string, value: string];
  verdict: string;
  minutes: number;
  /** How many nodes are cordoned after the verdict. */
  cordoned: number;
}

const rows: Row[] = [
  {
    file: 'gpu-fell-off-the-bus.yaml',
    xid: '79',
    outcome: 'report_requested',
    label: ['cloud.google.com/fault-behavior', 'XID'],
    verdict: 'reported',
    minutes: 20,
    cordoned: 2,
  },
  {
    file: 'gpu-double-bit-ecc.yaml',
    xid: '48',
    outcome: 'reboot_requested',
    label: ['cloud.google.com/perform-reboot', 'true'],
    verdict: 'repaired',
    minutes: 5,
    cordoned: 0,
  },
];

describe('an Xid on the serial console of a GPU machine', () => {
  for (const { file, xid, outcome, label, verdict, minutes, cordoned } of rows) {
    it(`${xid}: ${outcome} by its policy, then ${verdict}, and no machine is deleted`, async () => {
      const policy = parse(readFileSync(new URL(file, policies), 'utf8')) as Policy;
      const world = new AlertWorld({
        build(emulator) {
          const cluster = createTrainWorld(emulator);
          cluster.addPool('gpu-a', { gpu: true, labels: { 'cloud.google.com/reservation-name': 'gpus' } });
          emulator.settle();
          return cluster;
        },
      });
      const [node = ''] = nodeNames(world.cluster, 'gpu-a');
      const machine = world.emulator.fleet.list().find(({ name }) => name === node);
      const entry = JSON.parse(readFileSync(console_, 'utf8')) as LogEntry & {
        textPayload: string;
        resource: { type: string; labels: Record<string, string> };
      };
      entry.textPayload = entry.textPayload.replace(': 79,', `: ${xid},`);
      entry.resource.labels['instance_id'] = machine?.id ?? '';
      entry.resource.labels['zone'] = machine?.zone ?? '';
      const [condition] = policy.conditions;
      expect(parseLoggingQuery(condition?.conditionMatchedLog.filter ?? '')(entry)).to.equal(true);

      const delivery = world.publish(
        createNotification({
          startedAt: world.time.now,
          condition: 'logMatch',
          labels: policy.userLabels,
          type: entry.resource.type,
          clusterLabels: null,
          resource: entry.resource.labels,
        }),
      );
      await world.deliverAll([delivery]);
      const [cordon, repair] = delivery.answer?.body.steps ?? [];
      expect(cordon, JSON.stringify(delivery.answer?.body)).to.include({ step: 'cordon', cordoned: 2 });
      expect(repair).to.include({ step: 'repair', target: node, outcome });
      const [key, value] = label;
      const asked = () => world.cluster.get('nodes', undefined, node)?.metadata.labels?.[key];
      expect(asked()).to.equal(value);
      const told: unknown[] = [];
      for (let minute = 0; minute < minutes; minute++) {
        await world.pass(60);
        const { clusters } = await world.reconcile();
        told.push(...(clusters[0]?.settled ?? []).map((each) => each.verdict));
      }
      expect(asked()).to.equal(undefined);
      expect(told).to.deep.equal([verdict]);
      expect(countCordoned(world.cluster, 'gpu-a')).to.equal(cordoned);
      expect(world.emulator.fleet.deletions).to.deep.equal([]);
    });
  }
});

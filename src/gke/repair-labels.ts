import type { Fault, LabelWay } from '../action-type.ts';
import { askingLabels } from './asking-labels.ts';
import { activeMaintenanceLabel, isBoughtAs, isMaintained } from './node-labels.ts';
import type { NodeHealth, NodeRef } from './nodes.ts';

// GKE repairs what a label of a node asks for. Names, values and stages are those of public documentation (2026-04).

const prefix = 'cloud.google.com/';

export const faultLabel = `${prefix}fault-behavior`;
const reportStatusLabel = `${prefix}report-and-replace-status`;
const reportOperationLabel = `${prefix}report-and-replace-operation`;

/** GKE's name of each fault. */
const faultNames: Record<Fault, string> = {
  performance: 'PERFORMANCE',
  silent_data_corruption: 'SDC',
  xid: 'XID',
  unspecified: 'unspecified',
};

/** Returns the label that asks GKE for a repair. */
export function toRepairLabel(way: LabelWay, fault: Fault = 'unspecified'): { key: string; value: string } {
  const asking = askingLabels.find((each) => each.way === way);
  return asking ? { key: asking.label, value: 'true' } : { key: faultLabel, value: faultNames[fault] };
}

/** How far GKE has come with the report of a node's host, in its own words. It keeps both after the report's end. */
export interface ReportState {
  status?: string;
  operation?: string;
}

/** Reads how far GKE has come with the report of a node's host. */
export function readReport({ labels }: NodeRef): ReportState {
  const { [reportStatusLabel]: status, [reportOperationLabel]: operation } = labels;
  return { ...(status === undefined ? {} : { status }), ...(operation === undefined ? {} : { operation }) };
}

/** True for the word with which GKE ends a report that has failed. It is documented in both spellings. */
export function isReportError(status: string | undefined): boolean {
  return status?.toLowerCase() === 'error';
}

/** Says which report of a node's host is under way, whoever asked for it; undefined if none is. */
export function findReportUnderWay({ labels }: NodeRef): string | undefined {
  const { [faultLabel]: fault, [reportStatusLabel]: status } = labels;
  if (fault !== undefined) return `label ${faultLabel}=${fault}`;
  const isRunning = status === 'PodsEvicted' || status === 'OperationRUNNING';
  return isRunning ? `label ${reportStatusLabel}=${status}` : undefined;
}

/** Until when a label counts that asks for a reboot or a maintenance. */
export interface LabelPatience {
  /** By the API server's clock, in ms since the epoch. */
  serverNow: number;
  repairTimeoutSeconds: number;
}

/** How long a repair has before its verdict. The maintenance of a host took 35 minutes where it was measured. */
export function toRepairSeconds(way: LabelWay | undefined, repairTimeoutSeconds: number): number {
  return way === 'maintenance' ? 2 * repairTimeoutSeconds : repairTimeoutSeconds;
}

/**
 * Says which other repair of a node a label asks for or GKE is at; undefined if none. A label that GKE has left there does not
 * count for ever.
 */
export function findRepairUnderWay(node: NodeRef, patience: LabelPatience): string | undefined {
  const report = findReportUnderWay(node);
  if (report !== undefined) return report;
  const left = findLeftLabels(node, patience);
  const asked = askingLabels.find(({ label }) => node.labels[label] === 'true' && !left.includes(label));
  if (asked !== undefined) return `label ${asked.label}=true`;
  return isMaintained(node) ? `label ${activeMaintenanceLabel}=ONGOING` : undefined;
}

/**
 * Lists the labels that asked for a reboot or a maintenance so long ago that its verdict would be due. It is not documented that
 * GKE takes them away.
 */
export function findLeftLabels(node: NodeRef, { serverNow, repairTimeoutSeconds }: LabelPatience): string[] {
  return askingLabels.flatMap(({ label, way }) => {
    const at = node.labels[label] === undefined ? undefined : node.askedAt?.[label];
    const limitMs = toRepairSeconds(way, repairTimeoutSeconds) * 1000;
    return at !== undefined && serverNow - at >= limitMs ? [label] : [];
  });
}

/** The annotation in which GKE tells of a maintenance of a node's host. */
export const maintenanceAnnotation = 'node.gke.io/upcoming-maintenance';

/** Says why no maintenance of a node's host can be pulled forward; undefined if one can. */
export function whyNoMaintenance({ name, annotations, labels }: NodeRef): string | undefined {
  const text = annotations[maintenanceAnnotation];
  if (text === undefined) {
    if (labels[`${prefix}scheduled-maintenance-time`] !== undefined) return undefined;
    return `no maintenance of the host of node ${name} is pending (annotation ${maintenanceAnnotation})`;
  }
  const { maintenanceStatus, canReschedule } = parseObject(text);
  if (maintenanceStatus === 'ONGOING') return `the host of node ${name} is being maintained already`;
  if (canReschedule === false) return `the maintenance of the host of node ${name} cannot be pulled forward`;
  return undefined;
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** The machine types whose hosts GKE can report, of pages from April 2026 on. */
const reportable = /^(a5x-|a4x-|a4-|a3-(ultragpu|megagpu|highgpu)-8g$|g4-standard-384$)/;

const machineTypeLabel = 'node.kubernetes.io/instance-type';
const reservationLabel = `${prefix}reservation-name`;

/** The first GKE version that reports hosts: 1.32.3-gke.1057001. */
const firstReporting = [1, 32, 3, 1_057_001];

/** Says why the host of a node cannot be reported, as far as its labels tell; undefined if nothing speaks against it. */
export function whyNotReportable(node: NodeRef & Pick<NodeHealth, 'kubeletVersion'>): string | undefined {
  const { name, labels, kubeletVersion } = node;
  const tpu = labels[`${prefix}gke-tpu-accelerator`];
  if (tpu !== undefined) return `GKE reports hosts of GPU machines only, and node ${name} is a TPU (${tpu})`;
  const type = labels[machineTypeLabel];
  if (type !== undefined && !reportable.test(type)) {
    return `GKE does not report hosts of the machine type ${type} of node ${name}, only of A3 with 8 GPUs, A4 and later`;
  }
  if (kubeletVersion !== undefined && isOlder(kubeletVersion)) {
    return `GKE reports hosts from version 1.32.3-gke.1057001 on, and node ${name} has ${kubeletVersion}`;
  }
  const kind = (['spot', 'flex-start', 'queued'] as const).find((each) => isBoughtAs(each, labels));
  if (kind === undefined) return undefined;
  return `only hosts of a reservation can be reported, and the machine of node ${name} is ${kind}`;
}

/** True if the node's labels name the reservation that its machine is of. Where it takes any reservation, none does. */
export function namesReservation({ labels }: NodeRef): boolean {
  return labels[reservationLabel] !== undefined;
}

/** True if the hosts of a node's reservation come back as they are (all-capacity mode), by its machine type. */
export function isAllCapacity(node: NodeRef): boolean {
  return namesReservation(node) && (node.labels[machineTypeLabel]?.startsWith('a4x-') ?? false);
}

/** A version that cannot be read is none that is too old. */
function isOlder(version: string): boolean {
  const [, ...parts] = /^v?(\d+)\.(\d+)\.(\d+)-gke\.(\d+)/.exec(version) ?? [];
  for (const [index, wanted] of firstReporting.entries()) {
    const part = Number(parts[index] ?? wanted);
    if (part !== wanted) return part < wanted;
  }
  return false;
}

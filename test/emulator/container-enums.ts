/** The enums of the Container API by the field that has them, in the order of their numbers; a gap is an empty name. */
const clusterStatus = words('STATUS_UNSPECIFIED PROVISIONING RUNNING RECONCILING STOPPING ERROR DEGRADED');
const poolStatus = words(
  'STATUS_UNSPECIFIED PROVISIONING RUNNING RUNNING_WITH_ERROR RECONCILING STOPPING ERROR',
);
const operationStatus = words('STATUS_UNSPECIFIED PENDING RUNNING DONE ABORTING');
const operationType = words(
  'TYPE_UNSPECIFIED CREATE_CLUSTER DELETE_CLUSTER UPGRADE_MASTER UPGRADE_NODES REPAIR_CLUSTER UPDATE_CLUSTER ' +
    'CREATE_NODE_POOL DELETE_NODE_POOL SET_NODE_POOL_MANAGEMENT AUTO_REPAIR_NODES AUTO_UPGRADE_NODES SET_LABELS ' +
    'SET_MASTER_AUTH SET_NODE_POOL_SIZE SET_NETWORK_POLICY SET_MAINTENANCE_POLICY',
);
const phase = words(
  'PHASE_UNSPECIFIED UPDATE_STARTED CREATING_GREEN_POOL CORDONING_BLUE_POOL DRAINING_BLUE_POOL NODE_POOL_SOAKING ' +
    'DELETING_BLUE_POOL ROLLBACK_STARTED',
);
const conditionCode = words(
  'UNKNOWN GCE_STOCKOUT GKE_SERVICE_ACCOUNT_DELETED GCE_QUOTA_EXCEEDED SET_BY_OPERATOR',
);
const canonicalCode = words(
  'OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED RESOURCE_EXHAUSTED',
);

/** What an answer is made of, which says what its field `status` means. */
export type ContainerKind = 'cluster' | 'nodePool' | 'operation';

/** Writes the enums of an answer as numbers, as for clients that ask for that. */
export function withNumericEnums(value: unknown, kind: ContainerKind): unknown {
  if (Array.isArray(value)) return value.map((each) => withNumericEnums(each, kind));
  if (typeof value !== 'object' || value === null) return value;
  const status = { cluster: clusterStatus, nodePool: poolStatus, operation: operationStatus }[kind];
  const names: Record<string, string[]> = {
    status,
    operationType,
    phase,
    code: conditionCode,
    canonicalCode,
  };
  const kinds: Record<string, ContainerKind> = { nodePools: 'nodePool', operations: 'operation' };
  return Object.fromEntries(
    Object.entries(value).map(([key, field]) => [
      key,
      typeof field === 'string' && names[key]
        ? Math.max(names[key].indexOf(field), 0)
        : withNumericEnums(field, kinds[key] ?? kind),
    ]),
  );
}

function words(text: string): string[] {
  return text.split(' ');
}

import { invalidValue, requiredValue, tooLong } from './api-status.ts';
import type { StatusCause } from './api-status.ts';
import type { ObjectMeta } from './objects.ts';

type Causes = Required<StatusCause>[];

/** Finds what is wrong with the metadata of an object of any kind. */
export function findMetadataCauses(metadata: ObjectMeta): Causes {
  return [
    ...findNameCauses(metadata.name),
    ...findLabelCauses(metadata.labels ?? {}),
    ...findAnnotationCauses(metadata.annotations ?? {}),
  ];
}

const nameRule =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start " +
  "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is " +
  "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

function findNameCauses(name: string): Causes {
  if (!name) return [requiredValue('metadata.name', 'name or generateName is required')];
  const causes: Causes = [];
  if (name.length > 253) {
    causes.push(invalidValue('metadata.name', name, 'must be no more than 253 characters'));
  }
  if (!/^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(name)) {
    causes.push(invalidValue('metadata.name', name, nameRule));
  }
  return causes;
}

const labelRule =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and " +
  "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is " +
  "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

function findLabelCauses(labels: Record<string, string>): Causes {
  return Object.values(labels).flatMap((value) => {
    if (value.length > 63) return [invalidValue('metadata.labels', value, 'must be no more than 63 bytes')];
    if (/^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/.test(value)) return [];
    return [invalidValue('metadata.labels', value, labelRule)];
  });
}

const maxAnnotationBytes = 262_144;

/** Keys and values of all annotations together. */
function findAnnotationCauses(annotations: Record<string, string>): Causes {
  let bytes = 0;
  for (const [key, value] of Object.entries(annotations)) {
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (bytes <= maxAnnotationBytes) return [];
  return [tooLong('metadata.annotations', `may not be more than ${maxAnnotationBytes} bytes`)];
}

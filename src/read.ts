import type { Deadline } from './clock.ts';
import type { Read } from './request/reads.ts';
import type { Services } from './services.ts';
import { getAction } from './status/get-action.ts';
import { listActions } from './status/list-actions.ts';
import { createReadPictures } from './status/status.ts';

/** Answers what a request asks to see: the JSON of its answer. */
export type AnswerRead = (read: Read, deadline: Deadline) => Promise<object>;

/** Creates the function that answers reads. Nothing that it calls writes. */
export function createAnswerRead(services: Services): AnswerRead {
  const readPictures = createReadPictures(services);
  return async (read, deadline) => {
    if (read.kind === 'action') return getAction(read.id, read, deadline, services);
    if (read.kind === 'actions') return listActions(read.filter, read.clusters, deadline, services);
    const pictures = await readPictures(read.clusters, deadline);
    const clusters = pictures.map(
      ({ cluster, picture, error }) => picture?.status ?? { cluster: cluster.fullName, error },
    );
    return { clusters };
  };
}

import type { Deadline } from './clock.ts';
import type { FailoverError } from './errors.ts';
import type { Page } from './page/layout.ts';
import type { Visit } from './page/parts.ts';
import type { Read } from './request/reads.ts';
import type { Services } from './services.ts';
import { getAction } from './status/get-action.ts';
import { listActions } from './status/list-actions.ts';
import { createRecall, keepForWatchersMs } from './recall.ts';
import type { createReadPictures } from './status/status.ts';

/** Answers what a request asks to see: the JSON of its answer. */
export type AnswerRead = (read: Read, deadline: Deadline) => Promise<object>;

/** Creates the function that answers reads. Nothing that it calls writes. */
export function createAnswerRead(
  services: Services,
  readPictures: ReturnType<typeof createReadPictures>,
): AnswerRead {
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

/** Only a browser needs what makes pages, so a POST's cold start does not load it. */
const loadPage = () => import('./page/page.ts');

/** Answers what a browser asks to see: a page. */
export type AnswerPage = (read: Read, query: string, visitor: Visitor, deadline: Deadline) => Promise<Page>;

/** Where a browser is. */
export type Visitor = Pick<Visit, 'host' | 'canAct'>;

/** Creates the function that answers browsers. Nothing that it calls writes. */
export function createAnswerPage(
  services: Services,
  readPictures: ReturnType<typeof createReadPictures>,
): AnswerPage {
  const { clock, config } = services;
  const recall = createRecall(clock, keepForWatchersMs);
  const hasClusters = config.clusters.length > 1;
  return async (read, query, visitor, deadline) => {
    const { renderAction, renderActions, renderOverview } = await loadPage();
    const toVisit = (): Visit => ({ ...visitor, now: clock.now(), hasClusters });
    if (read.kind === 'action') {
      const key = JSON.stringify(read);
      const action = await recall(key, () => getAction(read.id, read, deadline, services));
      return renderAction(action, toVisit());
    }
    const { clusters } = read;
    const filter = read.kind === 'actions' ? read.filter : mostActions;
    const key = JSON.stringify([filter, clusters]);
    const listing = recall(key, () => listActions(filter, clusters, deadline, services));
    if (read.kind === 'actions') return renderActions(await listing, new URLSearchParams(query), toVisit());
    const [pictures, list] = await Promise.all([readPictures(clusters, deadline), listing]);
    return renderOverview(pictures, list, toVisit());
  };
}

/** The overview looks through these for what needs a person, and shows the newest. */
const mostActions = {
  nodePool: undefined,
  jobset: undefined,
  state: undefined,
  since: undefined,
  limit: 500,
  pageToken: undefined,
};

/** Shows an error to a browser. */
export async function toFailurePage(error: FailoverError, now: number): Promise<Page> {
  const { renderFailure } = await loadPage();
  return renderFailure(error, now);
}

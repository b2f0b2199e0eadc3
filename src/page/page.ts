// Everything that makes a page. It is loaded by the first request that wants one, never on the way of an action
// (src/read.ts).
export { renderAction } from './action.ts';
export { renderActions } from './actions.ts';
export { renderFailure } from './failure.ts';
export { renderOverview } from './overview.ts';

import { expect } from 'chai';
import type { Answer, Status } from './kubernetes-client.ts';

export interface ExpectedStatus {
  status: number;
  reason: string;
  /** The whole message, or a pattern if the function relies only on a part. */
  message?: string | RegExp;
  details?: object;
}

/** Asserts that an answer is the Kubernetes `Status` that a failed request gets. */
export function expectStatus(
  answer: Answer<unknown>,
  { status, reason, message, details }: ExpectedStatus,
): void {
  const body = answer.body as Status | undefined;
  expect({ status: answer.status, reason: body?.reason }, answer.text.slice(0, 500)).to.deep.equal({
    status,
    reason,
  });
  expect(body).to.include({ kind: 'Status', apiVersion: 'v1', status: 'Failure', code: status });
  if (typeof message === 'string') expect(body?.message).to.equal(message);
  else if (message) expect(body?.message).to.match(message);
  if (details) expect(body?.details).to.deep.include(details);
}

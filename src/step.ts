/** One step of an answer: a summary that a person can read. In a dry run, what it would be. */
export type Step = { step: string; target: string } & Record<string, unknown>;

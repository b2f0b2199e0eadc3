import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';

let ids = 0;

/** Starts the ids of this process from the first one again. */
export function resetIds(): void {
  ids = 0;
}

/** Takes chance out of the process: each wait is the middle one, and ids are counted. @returns what brings it back */
export function fixChance(): () => void {
  const { random } = Math;
  const { randomUUID } = crypto;
  Math.random = () => 0.5;
  crypto.randomUUID = () => `00000000-0000-4000-8000-${String(ids++).padStart(12, '0')}`;
  // The named imports of ES modules follow only then.
  syncBuiltinESMExports();
  return () => {
    Math.random = random;
    crypto.randomUUID = randomUUID;
    syncBuiltinESMExports();
  };
}

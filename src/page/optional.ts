// What /status has or leaves out. The page shows it where it is there.

/** What was done within 24 h, of `MAX_ATTEMPTS_PER_DAY`. */
export interface Attempts {
  max: number;
  used: number;
  left: number;
  again_at?: string;
  broken?: true;
}

/** Of a cluster. */
export interface MoreStatus {
  paused?: { why: string; by?: string; tool?: string; at?: string };
  override_ignored?: string;
  budget: { used: number; broken?: true };
  jobsets?: { name: string; attempts: Attempts }[];
  errors?: string[];
  warnings?: string[];
}

/** Of a pool. */
export interface MorePool {
  name: string;
  attempts?: Attempts;
  gke_status?: string;
  operations?: { type: string; since?: string; node?: string; name?: string }[];
}

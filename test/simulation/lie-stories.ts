import fc from 'fast-check';

/** What is asked for; the verdict of it is what signals lie about. */
export type LiedAbout =
  | 'restart'
  | 'recreation'
  | 'slice_repair'
  | 'machine_repair'
  | 'reboot'
  | 'maintenance'
  | 'report'
  | 'gkes_repair';

/** From when until when something is so, in seconds after the action was answered. */
interface Span {
  from: number;
  seconds: number;
}

/** What the APIs say that is not so. At most one of each kind is told in a story. */
export type Lie = Span &
  (
    | {
        kind:
          | 'node_status_lags'
          | 'node_ids_lag'
          | 'boot_ids_lag'
          | 'pods_lag'
          | 'counts_lag'
          | 'start_times_lag'
          // For so long after its registration a node does not say its machine's id.
          | 'ids_are_missing'
          // For so long after it is gone, a Node object of before is still listed, under its name, with its last status.
          | 'old_nodes_linger';
        /** By how much. */
        bySeconds: number;
      }
    | {
        kind:
          | 'counts_lead'
          | 'boot_ids_are_missing'
          | 'old_pods_look_ready'
          | 'old_machine_looks_ready'
          | 'new_machines_have_new_names';
      }
  );

/** What truly happens, and what its signals do not tell by themselves. */
export type Trouble = Span &
  (
    | {
        kind:
          | 'deletions_fail'
          | 'chips_are_dead'
          | 'one_chip_is_dead'
          | 'hosts_stay'
          | 'machines_are_withheld'
          | 'labels_are_ignored'
          | 'reports_fail'
          | 'no_room_elsewhere'
          | 'gke_repairs_it_too'
          | 'label_is_taken'
          // Machines that came anew are silent for so long.
          | 'machines_boot_slowly';
      }
    | { kind: 'node_dies' | 'guest_reboots' | 'node_object_is_deleted'; pool: 'own' | 'other'; node: number }
    | { kind: 'run_fails' }
  );

/** One recovery and how its signals lie. Everything in it follows from this value. */
export interface LieStory {
  seed: number;
  about: LiedAbout;
  nodeObject: 'survives' | 'reregistered';
  backoffLimit: 0 | 6;
  /** What GKE said of a report before. */
  lastWeek: 'nothing' | 'OperationDone' | 'Error' | 'done_without_operation';
  /** Whether the lies that begin at 0 are told to the decision, too. */
  liesBefore: boolean;
  everySeconds: number;
  lies: Lie[];
  troubles: Trouble[];
}

/** No lie and no trouble lasts longer. */
export const liesEndSeconds = 480;
/** Nothing lags by more. */
export const maxLagSeconds = 90;

const span = {
  from: fc.oneof(fc.constant(0), fc.nat(240)),
  seconds: fc.oneof(fc.constant(240), fc.integer({ min: 20, max: 240 })),
};
const bySeconds = fc.integer({ min: 5, max: maxLagSeconds });
const place = { pool: fc.constantFrom('own' as const, 'other' as const), node: fc.nat(3) };

const lie: fc.Arbitrary<Lie> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      ...span,
      bySeconds,
      kind: fc.constantFrom(
        'node_status_lags' as const,
        'node_ids_lag' as const,
        'boot_ids_lag' as const,
        'pods_lag' as const,
        'counts_lag' as const,
        'start_times_lag' as const,
        'ids_are_missing' as const,
        'old_nodes_linger' as const,
      ),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      ...span,
      kind: fc.constantFrom(
        'counts_lead' as const,
        'boot_ids_are_missing' as const,
        'old_pods_look_ready' as const,
        'old_machine_looks_ready' as const,
        'new_machines_have_new_names' as const,
      ),
    }),
  },
);

const trouble: fc.Arbitrary<Trouble> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      ...span,
      kind: fc.constantFrom(
        'deletions_fail' as const,
        'chips_are_dead' as const,
        'one_chip_is_dead' as const,
        'hosts_stay' as const,
        'machines_are_withheld' as const,
        'labels_are_ignored' as const,
        'reports_fail' as const,
        'no_room_elsewhere' as const,
        'gke_repairs_it_too' as const,
        'label_is_taken' as const,
        'machines_boot_slowly' as const,
      ),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      ...span,
      ...place,
      kind: fc.constantFrom(
        'node_dies' as const,
        'guest_reboots' as const,
        'node_object_is_deleted' as const,
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ ...span, kind: fc.constant('run_fails' as const) }) },
);

/** The usual length first, then a life without lies and troubles: a story shrinks to those that matter. */
export const lieStories: fc.Arbitrary<LieStory> = fc.record({
  seed: fc.nat(),
  about: fc.constantFrom<LiedAbout[]>(
    'restart',
    'recreation',
    'slice_repair',
    'machine_repair',
    'reboot',
    'maintenance',
    'report',
    'gkes_repair',
  ),
  nodeObject: fc.constantFrom('survives' as const, 'reregistered' as const),
  backoffLimit: fc.constantFrom(0 as const, 6 as const),
  lastWeek: fc.constantFrom(
    'nothing' as const,
    'OperationDone' as const,
    'Error' as const,
    'done_without_operation' as const,
  ),
  liesBefore: fc.boolean(),
  everySeconds: fc.integer({ min: 15, max: 60 }),
  lies: fc.uniqueArray(lie, { maxLength: 5, selector: ({ kind }) => kind }),
  troubles: fc.uniqueArray(trouble, { maxLength: 3, selector: ({ kind }) => kind }),
});

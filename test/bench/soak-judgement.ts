/** What soak-probe.cjs writes down, in bytes and counts. */
export interface Probe {
  at: number;
  rss: number;
  heapUsed: number;
  external: number;
  resources: Record<string, number>;
  listeners: Record<string, number>;
}

/** What became of a soak. */
export interface SoakResult {
  minutes: number;
  /** Actions and alerts. */
  sent: number;
  /** How often each outcome was, such as `restart 200`. */
  outcomes: Record<string, number>;
  /** Medians after each collection of garbage, in MB: of the second fifth of the run, and of the last. */
  heapMb: { early: number; late: number };
  rssMb: { early: number; late: number };
  /** What the process held while nothing was under way: after the first ten, and after the last. */
  sockets: { before: number; after: number };
  listeners: { before: number; after: number };
  /** At most 200 points: minutes since the start, MB. */
  curve: { minute: number; heapMb: number; rssMb: number }[];
  /** What is wrong; empty if nothing is. */
  faults: string[];
}

/** So much may the heap grow between the second fifth and the last, whatever the number of actions: noise is less. */
const mostHeapGrowthMb = 2;
/** V8 raises the room for young objects when a moment is busy, to two halves of 16 MB, and keeps it. */
const mostRssGrowthMb = 32;

/** These must have been done, or the run has shown nothing. */
const needed = [
  'restart 200',
  'restart again 200',
  'uncordon 200',
  'alert 200',
  'close 200',
  'repair 200',
  'reconcile 200',
];

/** Judges a soak by what its probes saw. */
export function judgeSoak(run: {
  probes: Probe[];
  rested: Probe;
  ended: Probe;
  sent: number;
  minutes: number;
  outcomes: Map<string, number>;
  output: string;
}): SoakResult {
  const { probes, rested, ended, outcomes, output } = run;
  const { early, late } = splitRun(probes);
  const medianMb = (of: Probe[], read: (probe: Probe) => number) => toMb(middle(of.map(read)));
  const heap = ({ heapUsed, external }: Probe) => heapUsed + external;
  const result: SoakResult = {
    minutes: run.minutes,
    sent: run.sent,
    outcomes: Object.fromEntries([...outcomes].sort(([a], [b]) => (a < b ? -1 : 1))),
    heapMb: { early: medianMb(early, heap), late: medianMb(late, heap) },
    rssMb: { early: medianMb(early, ({ rss }) => rss), late: medianMb(late, ({ rss }) => rss) },
    sockets: { before: countSockets(rested), after: countSockets(ended) },
    listeners: { before: sum(rested.listeners), after: sum(ended.listeners) },
    curve: thin(probes).map((probe) => ({
      minute: Number(((probe.at - (probes[0]?.at ?? 0)) / 60_000).toFixed(2)),
      heapMb: toMb(heap(probe)),
      rssMb: toMb(probe.rss),
    })),
    faults: [],
  };
  const { heapMb, rssMb, sockets, listeners } = result;
  const faults: [boolean, string][] = [
    [probes.length < 10, `only ${probes.length} probes`],
    [
      heapMb.late > heapMb.early + mostHeapGrowthMb,
      `the heap grew from ${heapMb.early} to ${heapMb.late} MB`,
    ],
    [rssMb.late > rssMb.early + mostRssGrowthMb, `memory grew from ${rssMb.early} to ${rssMb.late} MB`],
    [sockets.after > sockets.before, `${sockets.after - sockets.before} sockets were left over`],
    [listeners.after > listeners.before, `${listeners.after - listeners.before} listeners were left over`],
    [/MaxListenersExceededWarning/.test(output), 'Node warned of too many listeners'],
    [/"code":"internal"/.test(output), 'the function logged an internal error'],
    ...needed.map((outcome): [boolean, string] => [!outcomes.has(outcome), `there was no ${outcome}`]),
    ...[...outcomes.keys()]
      .filter((outcome) => / 5\d\d( |$)/.test(outcome))
      .map((outcome): [boolean, string] => [true, `${outcomes.get(outcome)} × ${outcome}`]),
  ];
  result.faults = faults.filter(([isWrong]) => isWrong).map(([, why]) => why);
  return result;
}

/** The second fifth and the last: during the first, caches fill and code is compiled. */
export function splitRun(probes: Probe[]): { early: Probe[]; late: Probe[] } {
  const fifth = Math.floor(probes.length / 5);
  return { early: probes.slice(fifth, 2 * fifth), late: probes.slice(-Math.max(1, fifth)) };
}

function countSockets({ resources }: Probe): number {
  return sum(
    Object.fromEntries(
      Object.entries(resources).filter(
        ([name]) => /^(TCP|TLS|Pipe|HTTP)(SOCKET)?/i.test(name) && !/server/i.test(name),
      ),
    ),
  );
}

function sum(counts: Record<string, number>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}

function thin<Item>(items: Item[]): Item[] {
  const step = Math.max(1, Math.ceil(items.length / 200));
  return items.filter((_, index) => index % step === 0);
}

function middle(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function toMb(bytes: number): number {
  return Number((bytes / 1024 / 1024).toFixed(1));
}

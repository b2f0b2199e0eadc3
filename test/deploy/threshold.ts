/** A time series of one metric: its metric labels, its resource labels, and a value a minute. */
export interface Series {
  metric: Record<string, string>;
  resource: Record<string, string>;
  /** undefined where nothing was written in that minute. */
  values: (boolean | undefined)[];
}

/** The condition of an alert policy, as the API writes it. */
export interface ThresholdCondition {
  filter: string;
  comparison: 'COMPARISON_GT' | 'COMPARISON_LT';
  thresholdValue: number;
  duration: string;
  evaluationMissingData?: string | null;
  aggregations: { perSeriesAligner: string; crossSeriesReducer: string; groupByFields: string[] }[];
}

/**
 * Says for which group and from which minute a condition opens an incident, as Cloud Monitoring documents it: the condition
 * must hold in every minute of its duration. It knows ALIGN_FRACTION_TRUE over a minute, REDUCE_MAX and REDUCE_MIN.
 */
export function incidents(condition: ThresholdCondition, all: Series[]): { group: string; minute: number }[] {
  const { comparison, thresholdValue, evaluationMissingData } = condition;
  const [aggregation] = condition.aggregations;
  if (aggregation?.perSeriesAligner !== 'ALIGN_FRACTION_TRUE') throw new Error('another aligner');
  const minutes = Number.parseInt(condition.duration, 10) / 60;
  const isBad = (value: number | undefined) => {
    if (value === undefined) return evaluationMissingData === 'EVALUATION_MISSING_DATA_ACTIVE';
    return comparison === 'COMPARISON_GT' ? value > thresholdValue : value < thresholdValue;
  };
  return [...group(all.filter(matcher(condition.filter)), aggregation.groupByFields)].flatMap(
    ([name, series]) => {
      const length = Math.max(...series.map(({ values }) => values.length));
      const reduced = Array.from({ length }, (_, minute) =>
        reduce(
          aggregation.crossSeriesReducer,
          series.flatMap(({ values }) => (values[minute] === undefined ? [] : [Number(values[minute])])),
        ),
      );
      const from = reduced.findIndex(
        (_, minute) =>
          minute + minutes <= length &&
          reduced.slice(minute, minute + minutes).every((value) => isBad(value)),
      );
      return from === -1 ? [] : [{ group: name, minute: from }];
    },
  );
}

function reduce(reducer: string, values: number[]): number | undefined {
  if (values.length === 0) return undefined;
  if (reducer === 'REDUCE_MAX') return Math.max(...values);
  if (reducer === 'REDUCE_MIN') return Math.min(...values);
  throw new Error(`another reducer: ${reducer}`);
}

function group(all: Series[], fields: string[]): Map<string, Series[]> {
  const groups = new Map<string, Series[]>();
  for (const series of all) {
    const key = fields.map((field) => series.resource[field.replace(/^resource\.labels?\./, '')]).join('/');
    groups.set(key, [...(groups.get(key) ?? []), series]);
  }
  return groups;
}

/** Reads the comparisons with = and != of metric labels out of a filter of Cloud Monitoring. */
function matcher(filter: string): (series: Series) => boolean {
  const terms = [...filter.matchAll(/metric\.labels\.(\w+)\s*(=|!=)\s*"([^"]*)"/g)];
  if (terms.length === 0) throw new Error(`no label in ${filter}`);
  return ({ metric }) =>
    terms.every(([, label = '', operator, value]) => (metric[label] === value) === (operator === '='));
}

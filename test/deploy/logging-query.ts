/** An entry of Cloud Logging, as far as queries look at it. */
export interface LogEntry {
  severity: string;
  logName?: string;
  resource: { type: string; labels: Record<string, string> };
  labels?: Record<string, string>;
  trace?: string;
  spanId?: string;
  jsonPayload?: Record<string, unknown>;
  httpRequest?: Record<string, unknown>;
  textPayload?: string;
}

/** Turns a line of the function's stdout into an entry, as Cloud Run's logging agent does. */
export function toLogEntry(line: string, serviceName: string): LogEntry {
  const {
    severity = 'DEFAULT',
    'logging.googleapis.com/labels': labels,
    'logging.googleapis.com/trace': trace,
    'logging.googleapis.com/spanId': spanId,
    ...jsonPayload
  } = JSON.parse(line) as Record<string, unknown>;
  return {
    severity: severity as string,
    resource: { type: 'cloud_run_revision', labels: { service_name: serviceName } },
    ...(labels ? { labels: labels as Record<string, string> } : {}),
    ...(trace ? { trace: trace as string } : {}),
    ...(spanId ? { spanId: spanId as string } : {}),
    jsonPayload,
  };
}

/**
 * Compiles a query of the Logging query language: comparisons, value lists, AND, OR, NOT, parentheses, log_id().
 *
 * @throws {SyntaxError} at what is not understood
 */
export function parseLoggingQuery(query: string): (entry: LogEntry) => boolean {
  const tokens = tokenize(
    query.replaceAll(
      /\blog_id\("([^"]+)"\)/g,
      (_, id: string) => `logName=~"/logs/${encodeURIComponent(id)}$"`,
    ),
  );
  const parse = createParser(tokens);
  const matches = parse();
  return (entry) => matches(entry);
}

type Predicate = (entry: unknown) => boolean;

const tokenPattern = /\s*(?:("(?:[^"\\]|\\.)*")|(>=|<=|!=|=~|!~|[=:<>()])|([^\s"=:<>()!]+))/y;

function tokenize(query: string): string[] {
  const tokens: string[] = [];
  const text = query.trim();
  tokenPattern.lastIndex = 0;
  while (tokenPattern.lastIndex < text.length) {
    const at = tokenPattern.lastIndex;
    const match = tokenPattern.exec(text);
    if (!match) throw new SyntaxError(`not understood at ${at}: ${text.slice(at, at + 40)}`);
    tokens.push(match[1] ?? match[2] ?? match[3] ?? '');
  }
  return tokens;
}

/** In this language OR binds more tightly than AND, and two comparisons in a row mean AND. */
function createParser(tokens: string[]): () => Predicate {
  let at = 0;
  const take = () => tokens[at++] ?? '';
  const accept = (token: string) => tokens[at] === token && take() !== '';
  const expect = (token: string) => {
    if (!accept(token)) throw new SyntaxError(`expected ${token}, found ${tokens[at] ?? 'the end'}`);
  };

  function conjunction(): Predicate {
    const terms = [disjunction()];
    while (at < tokens.length && tokens[at] !== ')') {
      accept('AND');
      terms.push(disjunction());
    }
    return (entry) => terms.every((term) => term(entry));
  }
  function disjunction(): Predicate {
    const terms = [negation()];
    while (accept('OR')) terms.push(negation());
    return (entry) => terms.some((term) => term(entry));
  }
  function negation(): Predicate {
    if (!accept('NOT')) return primary();
    const negated = negation();
    return (entry) => !negated(entry);
  }
  function primary(): Predicate {
    if (!accept('(')) return comparison();
    const inner = conjunction();
    expect(')');
    return inner;
  }
  function comparison(): Predicate {
    const path = fieldPath();
    const operator = take();
    const compare = comparisons[operator];
    if (!compare) throw new SyntaxError(`expected an operator after ${path.join('.')}, found ${operator}`);
    const values = accept('(') ? valueList() : [unquote(take())];
    return (entry) => {
      const value = readPath(entry, path);
      return value !== undefined && values.some((wanted) => compare(value, wanted, path));
    };
  }
  function fieldPath(): string[] {
    // labels."a.b" comes as two tokens.
    let name = take();
    while (name.endsWith('.')) name += take();
    return [...name.matchAll(/"([^"]*)"|([^."]+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '');
  }
  function valueList(): string[] {
    const values = [unquote(take())];
    while (accept('OR')) values.push(unquote(take()));
    expect(')');
    return values;
  }
  return () => {
    const parsed = conjunction();
    if (at < tokens.length) throw new SyntaxError(`unexpected ${tokens[at]}`);
    return parsed;
  };
}

function readPath(entry: unknown, path: string[]): unknown {
  return path.reduce((value, key) => (value as Record<string, unknown> | undefined)?.[key], entry);
}

function unquote(token: string): string {
  return token.startsWith('"') ? (JSON.parse(token) as string) : token;
}

const severities = [
  'DEFAULT',
  'DEBUG',
  'INFO',
  'NOTICE',
  'WARNING',
  'ERROR',
  'CRITICAL',
  'ALERT',
  'EMERGENCY',
];

type Comparison = (value: unknown, wanted: string, path: string[]) => boolean;

/** Compares texts without regard to case. A missing field matches nothing. */
const comparisons: Record<string, Comparison> = {
  '=': (value, wanted) => toText(value) === wanted.toLowerCase(),
  '!=': (value, wanted) => toText(value) !== wanted.toLowerCase(),
  ':': (value, wanted) => wanted === '*' || toText(value).includes(wanted.toLowerCase()),
  '=~': (value, wanted) => new RegExp(wanted).test(String(value)),
  '!~': (value, wanted) => !new RegExp(wanted).test(String(value)),
  '>=': (value, wanted, path) => toNumber(value, path) >= toNumber(wanted, path),
  '<=': (value, wanted, path) => toNumber(value, path) <= toNumber(wanted, path),
  '>': (value, wanted, path) => toNumber(value, path) > toNumber(wanted, path),
  '<': (value, wanted, path) => toNumber(value, path) < toNumber(wanted, path),
};

function toText(value: unknown): string {
  return String(value).toLowerCase();
}

function toNumber(value: unknown, path: string[]): number {
  return path[0] === 'severity' ? severities.indexOf(String(value)) : Number(value);
}

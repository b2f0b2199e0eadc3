/** The style of all pages. It is in the page itself, and the Content-Security-Policy has its hash. */
export const style = `
:root { color-scheme: light dark;
  --back: #f6f8fa; --card: #fff; --text: #1f2328; --soft: #59636e; --line: #d1d9e0; --link: #0550ae;
  --good: #1a7f37; --bad: #cf222e; --busy: #0969da; --quiet: #59636e; --warn: #9a6700;
  --good-back: #e6f6e9; --bad-back: #ffebe9; --busy-back: #ddf4ff; --quiet-back: #eceff2; --warn-back: #fff8c5;
  --ready: #2c974b; --cordoned: #b37a00; --failing: #8250df; --not-ready: #cf222e; --on-node: #fff; }
@media (prefers-color-scheme: dark) { :root {
  --back: #0d1117; --card: #151b23; --text: #e6edf3; --soft: #9da7b1; --line: #30363d; --link: #79b8ff;
  --good: #56d364; --bad: #ff8078; --busy: #79b8ff; --quiet: #9da7b1; --warn: #e3b341;
  --good-back: #12261e; --bad-back: #2d1517; --busy-back: #13243a; --quiet-back: #21262d; --warn-back: #2a2211;
  --ready: #2f9e4d; --cordoned: #e3b341; --failing: #b68cff; --not-ready: #ff6a61; --on-node: #0d1117; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; overflow-wrap: anywhere; }
header, main, footer { max-width: 1180px; margin: 0 auto; padding: 0 20px; }
header { display: flex; flex-wrap: wrap; gap: 4px 20px; align-items: center; padding-top: 14px; padding-bottom: 14px; }
header strong { font-size: 15px; }
header nav { display: flex; gap: 16px; }
header .fresh { margin-left: auto; color: var(--soft); font-size: 13px; display: flex; flex-wrap: wrap; align-items: center; }
header .stale { color: var(--bad); font-weight: 600; }
header .stale:not(:empty), header [data-at] { margin-right: 10px; }
footer { padding-top: 24px; padding-bottom: 32px; color: var(--soft); font-size: 13px; }
a { color: var(--link); text-decoration: none; }
a:hover, p a { text-decoration: underline; }
nav a[aria-current] { color: var(--text); font-weight: 600; }
h1 { font-size: 22px; line-height: 1.3; margin: 4px 0 14px; }
h2 { font-size: 16px; margin: 26px 0 10px; }
h3, .actions h2 { font-size: 15px; margin: 0; }
p { margin: 0 0 6px; }
ul, ol { list-style: none; margin: 0; padding: 0; }
code, pre, .id { font: 13px/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; }
pre { margin: 0; white-space: pre-wrap; }
button { font: inherit; font-size: 13px; color: var(--text); background: var(--card); border: 1px solid var(--line);
  border-radius: 6px; padding: 2px 10px; cursor: pointer; }
:focus-visible { outline: 2px solid var(--busy); outline-offset: 2px; border-radius: 3px; }
html:not(.js) .js-only { display: none; }
.soft { color: var(--soft); }
.small { font-size: 13px; }
.card, .switches, .need { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 16px; }
.switches { border-left: 5px solid var(--good); margin-bottom: 10px; }
.switches.paused { border-left-color: var(--bad); background: var(--bad-back); }
.switches.lifted { border-left-color: var(--warn); background: var(--warn-back); }
.switches p { margin: 0; }
.switches p + p { margin-top: 2px; }
.lead { font-size: 17px; }
.needs h2 { color: var(--bad); margin-top: 18px; }
.needs li + li { margin-top: 8px; }
.need { border-left: 5px solid var(--bad); }
.need p { margin: 2px 0 0; }
.pools { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(348px, 100%), 1fr)); gap: 10px; }
.pools .wide { grid-column: 1 / -1; }
.pool { display: flex; flex-direction: column; gap: 7px; }
.pool .top { display: flex; flex-wrap: wrap; gap: 2px 10px; justify-content: space-between; align-items: baseline; }
.pool p { margin: 0; font-size: 13px; }
svg.nodes { display: block; max-width: 100%; height: auto; }
svg.bar { display: block; width: 100%; height: 8px; margin-bottom: 10px; }
.bar .all { fill: var(--quiet-back); } .bar .part { fill: var(--good); }
.node path { fill: var(--ready); }
.node.cordoned path { fill: var(--cordoned); } .node.failing path { fill: var(--failing); }
.node.not_ready path { fill: var(--not-ready); }
.node path.held { stroke: var(--cordoned); stroke-width: 2; }
.node path.mark { fill: none; stroke: var(--on-node); stroke-width: 2; stroke-linecap: round; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 13px; color: var(--soft); margin: 0 0 10px; }
.legend li { display: flex; gap: 6px; align-items: center; }
.badge { display: inline-block; border-radius: 12px; padding: 1px 10px; font-size: 13px; font-weight: 600; }
.badge.good { color: var(--good); background: var(--good-back); } .badge.bad { color: var(--bad); background: var(--bad-back); }
.badge.busy { color: var(--busy); background: var(--busy-back); } .badge.quiet { color: var(--quiet); background: var(--quiet-back); }
.actions { background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.actions > li { padding: 10px 16px; display: grid; grid-template-columns: 92px minmax(0, 1fr) minmax(160px, auto); gap: 2px 14px; }
.actions > li + li { border-top: 1px solid var(--line); }
.actions .when { color: var(--soft); font-size: 13px; padding-top: 2px; }
.actions .came { text-align: right; }
.actions .more { font-size: 13px; color: var(--soft); }
.filter { display: flex; flex-wrap: wrap; gap: 4px 14px; margin-bottom: 12px; }
.facts { display: grid; gap: 4px; margin: 0; }
.facts div { display: grid; grid-template-columns: 120px minmax(0, 1fr); gap: 12px; }
.facts dt { color: var(--soft); } .facts dd { margin: 0; }
.columns { columns: 430px 2; column-gap: 10px; }
.columns .card { break-inside: avoid; margin-bottom: 10px; }
.columns h2 { margin: 0 0 10px; }
.timeline li { position: relative; padding: 0 0 12px 24px; }
.timeline li::before { content: ""; position: absolute; left: 4px; top: 7px; width: 9px; height: 9px; border-radius: 50%; background: var(--quiet); }
.timeline li:not(:last-child)::after { content: ""; position: absolute; left: 8px; top: 18px; bottom: -5px; border-left: 1px solid var(--line); }
.timeline li.good::before { background: var(--good); } .timeline li.bad::before { background: var(--bad); border-radius: 0; }
.timeline li.busy::before { background: none; border: 2px solid var(--busy); }
.timeline li:last-child { padding-bottom: 0; }
.timeline .time { color: var(--soft); font-size: 13px; }
.steps li + li { margin-top: 10px; }
.fields { display: flex; flex-wrap: wrap; gap: 0 14px; margin: 2px 0 0; font-size: 13px; }
.fields div { display: flex; gap: 5px; } .fields dt { color: var(--soft); white-space: nowrap; } .fields dd { margin: 0; }
.warning { color: var(--warn); font-weight: 600; }
.paste + .paste { margin-top: 14px; }
.line { display: flex; gap: 8px; align-items: start; }
.line pre { flex: 1; background: var(--back); border: 1px solid var(--line); border-radius: 6px; padding: 8px 10px; }
@media (max-width: 640px) {
  header, main, footer { padding-left: 12px; padding-right: 12px; }
  header .fresh { margin-left: 0; width: 100%; }
  .actions > li { grid-template-columns: minmax(0, 1fr); padding: 10px 12px; }
  .actions .came { text-align: left; order: -1; }
  .actions .when { order: -2; }
  .facts div { grid-template-columns: 88px minmax(0, 1fr); gap: 8px; }
  .line { flex-direction: column; }
}
`;

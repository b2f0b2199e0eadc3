// One square a node.
import { html } from './html.ts';
import type { Content, Html } from './html.ts';
import type { NodeState, NodeView } from '../status/node-state.ts';

/** In the order in which they are told. */
const states: { state: NodeState; name: string; what: string }[] = [
  { state: 'not_ready', name: 'not Ready', what: 'not Ready, or gone' },
  {
    state: 'failing',
    name: 'failing',
    what: 'Ready, but a condition, a taint or its accelerators say that it is not well',
  },
  { state: 'cordoned', name: 'cordoned', what: 'Ready and cordoned' },
  { state: 'ready', name: 'Ready', what: 'Ready, and pods may be scheduled on it' },
];

/** Above so many nodes of one state, they are one shape without names: thousands of titles make a page slow. */
const mostNamed = { ready: 64, cordoned: 64, failing: 256, not_ready: 256 };

interface Grid {
  columns: number;
  /** Of a square, and from one to the next. */
  size: number;
  pitch: number;
}

function gridFor(count: number): Grid {
  if (count <= 64) return { columns: 16, size: 15, pitch: 19 };
  return count <= 512 ? { columns: 32, size: 9, pitch: 11 } : { columns: 64, size: 8, pitch: 10 };
}

/** How many nodes are in which state, in words. */
export function countStates(nodes: Partial<Record<NodeState, number>>): string {
  const counted = states.filter(({ state }) => nodes[state] !== undefined);
  return counted.map(({ state, name }) => `${nodes[state]} ${name}`).join(', ') || 'no nodes';
}

/** Draws a pool: one square a node, in its colour and with its mark. */
export function drawNodes(pool: string, nodes: NodeView[]): Html {
  const grid = gridFor(nodes.length);
  const sorted = nodes.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const rows = Math.ceil(sorted.length / grid.columns);
  const width = Math.min(sorted.length, grid.columns) * grid.pitch;
  const height = rows * grid.pitch;
  const placed = sorted.map((node, index) => ({ node, ...place(index, grid) }));
  const counts = Object.fromEntries(states.map(({ state }) => [state, count(nodes, state)]));
  return html`<svg
    class="nodes"
    role="img"
    viewBox="0 0 ${width} ${height}"
    width="${width}"
    height="${height}"
    aria-label="${pool}: ${countStates(counts)}"
  >
    ${states.map(({ state }) => {
      const those = placed.filter(({ node }) => node.state === state);
      return those.length > 0 && html`<g class="node ${state}">${drawState(state, those, grid)}</g>`;
    })}
  </svg>`;
}

interface Placed {
  node: NodeView;
  x: number;
  y: number;
}

function drawState(state: NodeState, placed: Placed[], { size }: Grid): Content {
  if (placed.length > mostNamed[state]) {
    const all = placed.map(({ x, y }) => square(x, y, size)).join('');
    return html`<path d="${all}" />${markOf(state, placed, size)}`;
  }
  return [
    placed.map(
      ({ node, x, y }) =>
        html`<path d="${square(x, y, size)}" ${isHeld(node) && html` class="held"`}
          ><title>${describe(node)}</title></path
        >`,
    ),
    markOf(state, placed, size),
  ];
}

function isHeld({ state, cordonedBy }: NodeView): boolean {
  return cordonedBy !== undefined && state !== 'cordoned';
}

function describe({ name, state, cordonedBy }: NodeView): string {
  const word = states.find((each) => each.state === state)?.name;
  return `${name}: ${word}${cordonedBy === undefined ? '' : `, cordoned by ${cordonedBy}`}`;
}

/** The marks of all nodes of a state, as one shape. */
function markOf(state: NodeState, placed: { x: number; y: number }[], size: number): Content {
  const draw = shapes[state];
  return draw && html`<path class="mark" d="${placed.map(({ x, y }) => draw(x, y, size)).join('')}" />`;
}

const shapes: Partial<Record<NodeState, (x: number, y: number, size: number) => string>> = {
  cordoned: (x, y, s) => `M${x + s / 4} ${y + s / 2}h${s / 2}`,
  failing: (x, y, s) => `M${x + s / 2} ${y + s / 5}v${s / 3}m0 ${s / 5}v${s / 12}`,
  not_ready: (x, y, s) => `M${x + s / 4} ${y + s / 4}l${s / 2} ${s / 2}m0 ${-s / 2}l${-s / 2} ${s / 2}`,
};

function square(x: number, y: number, size: number): string {
  return `M${x} ${y}h${size}v${size}h-${size}z`;
}

function place(index: number, { columns, pitch }: Grid): { x: number; y: number } {
  return { x: (index % columns) * pitch + 1, y: Math.floor(index / columns) * pitch + 1 };
}

function count(nodes: NodeView[], state: NodeState): number | undefined {
  return nodes.filter((node) => node.state === state).length || undefined;
}

/** What the squares mean. */
export function legend(): Html {
  const size = 15;
  return html`<ul class="legend" aria-label="What the squares mean">
    ${states.toReversed().map(
      ({ state, name, what }) =>
        html`<li title="${what}">
          <svg class="nodes" aria-hidden="true" viewBox="0 0 17 17" width="17" height="17">
            <g class="node ${state}">
              <path d="${square(1, 1, size)}" />
              ${markOf(state, [{ x: 1, y: 1 }], size)}
            </g>
          </svg>
          ${name}
        </li>`,
    )}
    <li>
      <svg class="nodes" aria-hidden="true" viewBox="0 0 17 17" width="17" height="17">
        <g class="node not_ready">
          <path class="held" d="${square(1, 1, size)}" />
          ${markOf('not_ready', [{ x: 1, y: 1 }], size)}
        </g>
      </svg>
      framed: cordoned as well
    </li>
  </ul>`;
}

import type { LayerGroups } from "../data.js";
import { type Html, html } from "./html.js";

/** Width of the picture; all lengths are in its units. */
const WIDTH = 320;
/** Between the middles of neighbouring experts, and the diameter of their discs. */
const PITCH = 8;
const DISC = 7;
/** Between groups. */
const GAP = 5;

/**
 * The groups of a layer as flowers: the centroid in the middle, its members around it, the largest first, and the experts
 * that stay alone as single discs at the end. Discs are round ends of strokes without length: one path for each kind.
 */
export function flowers(id: string, { groups }: LayerGroups): Html {
  const sorted = [...groups].sort((a, b) => b.members.length - a.members.length || a.members[0]! - b.members[0]!);
  const paths = { centroid: "", member: "", dropped: "", alone: "" };
  const titles: Html[] = [];
  let [x, y, height] = [0, 0, 0];
  let before = 0;
  for (const { members, weights } of sorted) {
    const { places, box } = hexagonal(members.length);
    const gap = members.length > 1 ? GAP : 0;
    const [width, own] = [(box.width + 1) * PITCH, (box.height + 1) * PITCH];
    // Single discs begin on a line of their own.
    if (x + width > WIDTH || (members.length === 1 && before > 1)) {
      [x, y, height] = [0, y + height + (before > 1 ? GAP : 1), 0];
    }
    if (x === 0) height = own;
    const left = x + PITCH / 2 - box.left * PITCH;
    const top = y + (height - own) / 2 + PITCH / 2 - box.top * PITCH;
    for (const [place, [dx, dy]] of places.entries()) {
      const kind =
        members.length === 1 ? "alone" : place === 0 ? "centroid" : weights[place]! > 0 ? "member" : "dropped";
      paths[kind] += `M${round(left + dx * PITCH)} ${round(top + dy * PITCH)}h0`;
    }
    if (members.length > 1) {
      titles.push(
        html`<rect x="${round(x)}" y="${round(y + (height - own) / 2)}" width="${round(width)}" height="${round(own)}" fill="transparent"><title>${groupTitle(members, weights)}</title></rect>`,
      );
    }
    x += width + gap;
    before = members.length;
  }
  const drawn = Object.entries(paths)
    .filter(([, path]) => path !== "")
    .map(([kind, path]) => html`<path d="${path}" stroke="var(--${kind})"/>`);
  return html`<svg role="img" aria-labelledby="${id}" viewBox="0 0 ${WIDTH} ${round(y + height)}"><g class="stroke-round" stroke-width="${DISC}">${drawn}</g>${titles}</svg>`;
}

function groupTitle(members: readonly number[], weights: readonly number[]): string {
  const share = (place: number) => weights[place]!.toFixed(2);
  const others = members.slice(1).map((member, i) => `${member} (${share(i + 1)})`);
  return `expert ${members[0]} (${share(0)}) with ${others.join(", ")}`;
}

/** Places of a hexagonal grid from the middle outwards, and the box around them, in units of the grid's pitch. */
function hexagonal(count: number) {
  const places: [number, number][] = [[0, 0]];
  for (let ring = 1; places.length < count; ring++) {
    const around: [number, number][] = [];
    for (let side = 0; side < 6; side++) {
      const [a, b] = [(side * Math.PI) / 3, ((side + 1) * Math.PI) / 3];
      for (let step = 0; step < ring; step++) {
        const from = ring - step;
        around.push([from * Math.cos(a) + step * Math.cos(b), from * Math.sin(a) + step * Math.sin(b)]);
      }
    }
    // A ring that is not full is spread out, so that small groups are round.
    const taken = Math.min(count - places.length, around.length);
    for (let i = 0; i < taken; i++) places.push(around[Math.floor((i * around.length) / taken)]!);
  }
  const [x, y] = [places.map(([dx]) => dx), places.map(([, dy]) => dy)];
  const [left, top] = [Math.min(...x), Math.min(...y)];
  return { places, box: { left, top, width: Math.max(...x) - left, height: Math.max(...y) - top } };
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

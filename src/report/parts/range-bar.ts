import { type Html, html } from "./html.js";

const WIDTH = 128;

/** A value with its interval on a line, small enough for a cell; zero is marked. The numbers stand beside it. */
export function rangeBar(
  value: number,
  interval: readonly [number, number] | undefined,
  [low, high]: readonly [number, number],
): Html {
  const place = (at: number) => {
    const share = high === low ? 0.5 : (at - low) / (high - low);
    return (4 + Math.max(0, Math.min(1, share)) * (WIDTH - 8)).toFixed(1);
  };
  const line = (from: number, to: number, name: string, width: number) =>
    html`<path d="M${place(from)} 7H${place(to)}" stroke="var(--${name})" stroke-width="${width}"/>`;
  const zero =
    low <= 0 && high >= 0 ? html`<path d="M${place(0)} 0v14" stroke="var(--faint)" stroke-width="1"/>` : undefined;
  return html`<svg class="range" viewBox="0 0 ${WIDTH} 14" aria-hidden="true">${line(low, high, "line", 1)}${zero}${
    interval && line(interval[0], interval[1], "accent", 2)
  }<circle cx="${place(value)}" cy="7" r="3.5" fill="var(--accent)"/></svg>`;
}

/** The range of all values and intervals, with zero in it. */
export function commonRange(
  all: readonly { readonly value: number; readonly interval?: readonly [number, number] }[],
): readonly [number, number] {
  const ends = [0, ...all.flatMap(({ value, interval }) => [value, ...(interval ?? [])])];
  return [Math.min(...ends), Math.max(...ends)];
}

/**
 * Colours of the page in both themes. Method colours are Okabe and Ito's, which people with any colour vision tell apart,
 * darkened or lightened until each has a contrast of 3 to 1 with the panel; texts have 4.5 to 1. A test holds both.
 */

export type Colours = Readonly<Record<string, string>>;

/** Steps of the diverging palette, and colours of methods. */
export const DIVERGING_STEPS = 9;
export const METHOD_COLOURS = 8;

export const LIGHT: Colours = {
  paper: "#f6f7f8",
  panel: "#ffffff",
  text: "#1b1e21",
  muted: "#565d64",
  line: "#d8dce0",
  grid: "#e9ebee",
  faint: "#838a91",
  accent: "#0a5d9c",
  "accent-soft": "#e6f0f8",
  ...numbered("method-", "#0072b2 #c84e00 #00805c #a8467f #8a6500 #50585f #5b4bc4 #a11d2c"),
  ...numbered("sequential-", "#eef1f4 #d3e2ef #abc9e2 #79aad0 #4688ba #1f659e #0b3f70"),
  ...numbered("diverging-", "#a34a00 #d07a2c #ecae74 #f7dcc0 #f1f1ef #cfe1f0 #94c0e0 #4a8fc4 #14599b"),
  ...numbered("on-diverging-", "#ffffff #1b1e21 #1b1e21 #1b1e21 #1b1e21 #1b1e21 #1b1e21 #1b1e21 #ffffff"),
  centroid: "#0b4f8a",
  member: "#4a8fca",
  dropped: "#c2703a",
  alone: "#7f868d",
};

export const DARK: Colours = {
  paper: "#121518",
  panel: "#1a1e22",
  text: "#e7e9eb",
  muted: "#a6aeb5",
  line: "#343a40",
  grid: "#2a2f34",
  faint: "#7d858c",
  accent: "#7cbcf0",
  "accent-soft": "#1d3144",
  ...numbered("method-", "#5aaae8 #ff8c50 #2fc99b #e79cc8 #e3bd45 #b3bac0 #a99cf5 #ff7b86"),
  ...numbered("sequential-", "#23282d #1f3a52 #24537a #2f70a3 #4a90c8 #7fb6e2 #c3e0f7"),
  ...numbered("diverging-", "#ffab66 #d97f35 #96582a #5a3d28 #2b3035 #27435a #2c6390 #4a96d2 #9ccdf5"),
  ...numbered("on-diverging-", "#121518 #121518 #ffffff #ffffff #ffffff #ffffff #ffffff #121518 #121518"),
  centroid: "#a8d4fa",
  member: "#4a90cc",
  dropped: "#d98a52",
  alone: "#7d858c",
};

function numbered(prefix: string, colours: string): Colours {
  return Object.fromEntries(colours.split(" ").map((colour, i) => [`${prefix}${i}`, colour]));
}

/** The step of the diverging palette for a value from -1 to 1. */
export function divergingStep(value: number): number {
  return Math.max(0, Math.min(DIVERGING_STEPS - 1, Math.round(((value + 1) / 2) * (DIVERGING_STEPS - 1))));
}

/** Custom properties; paper is always light. */
export function themeCss(): string {
  const properties = (colours: Colours) =>
    Object.entries(colours)
      .map(([name, value]) => `--${name}:${value}`)
      .join(";");
  const dark = `color-scheme:dark;${properties(DARK)}`;
  return [
    `:root{color-scheme:light;${properties(LIGHT)}}`,
    `@media screen and (prefers-color-scheme:dark){:root:not([data-theme=light]){${dark}}}`,
    `@media screen{:root[data-theme=dark]{${dark}}}`,
  ].join("\n");
}

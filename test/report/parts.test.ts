import { describe, expect, test } from "vitest";
import { html, visible } from "../../src/report/parts/html.js";
import { fixed, interval, probability, signed, significant } from "../../src/report/parts/numbers.js";
import { spread } from "../../src/report/parts/spread.js";
import {
  type Colours,
  DARK,
  DIVERGING_STEPS,
  divergingStep,
  LIGHT,
  METHOD_COLOURS,
} from "../../src/report/parts/theme.js";
import { counted, listed } from "../../src/report/parts/words.js";

describe("html", () => {
  test("escapes text and attributes, not what is HTML already", () => {
    const inner = html`<b title="${`"><script>`}">${"a & b < c > 'd'"}</b>`;
    expect(html`<p>${[inner, 3, undefined]}</p>`.text).toBe(
      '<p><b title="&quot;&gt;&lt;script&gt;">a &amp; b &lt; c &gt; &#39;d&#39;</b>3</p>',
    );
  });

  test("shows control and direction characters as replacements", () => {
    expect(visible("a\u0000b\u202ec\ud800d\te\u2067f")).toBe("a\ufffdb\ufffdc\ufffdd\te\ufffdf");
    expect(visible("日本語 😀 é")).toBe("日本語 😀 é");
  });
});

test("numbers have a real minus sign, and zero has none", () => {
  expect([fixed(-1.25, 1), fixed(-0.04), fixed(undefined), fixed(Number.NaN)]).toEqual(["−1.3", "0.0", "–", "–"]);
  expect([signed(1.26), signed(-1.24), signed(0.04), signed(-0.04)]).toEqual(["+1.3", "−1.2", "0.0", "0.0"]);
  expect(interval([-2, 0.5])).toBe("−2.0 to +0.5");
  expect([significant(1234.5), significant(0.0123456), significant(0), significant(1.2e-7)]).toEqual([
    "1,230",
    "0.0123",
    "0",
    "1.20e−7",
  ]);
  expect([probability(0.0004), probability(0.0456), probability(undefined)]).toEqual(["<0.001", "0.046", "–"]);
  expect([counted(1, "model"), counted(1200, "model")]).toEqual(["1 model", "1,200 models"]);
  expect([listed([]), listed(["a"]), listed(["a", "b", "c"])]).toEqual(["", "a", "a, b and c"]);
  expect(spread([0, 1, 2, 3, 4, 5, 6], 3)).toEqual([0, 3, 6]);
});

describe.each([
  ["light", LIGHT],
  ["dark", DARK],
])("colours of the %s theme", (_name, colours) => {
  test.each(["text", "muted", "accent"])("%s is readable", (name) => {
    for (const ground of ["paper", "panel"]) expect(contrast(colours, name, ground)).toBeGreaterThan(4.5);
  });

  test("graphics stand out", () => {
    const methods = Array.from({ length: METHOD_COLOURS }, (_, i) => `method-${i}`);
    for (const name of [...methods, "centroid", "member", "dropped", "alone", "faint"]) {
      for (const ground of ["paper", "panel"]) expect(contrast(colours, name, ground), name).toBeGreaterThan(3);
    }
  });

  test("numbers of the heat map are readable", () => {
    for (let step = 0; step < DIVERGING_STEPS; step++) {
      expect(contrast(colours, `on-diverging-${step}`, `diverging-${step}`), `${step}`).toBeGreaterThan(4.5);
    }
  });

  test("both themes have the same names", () => {
    expect(Object.keys(colours)).toEqual(Object.keys(LIGHT));
  });
});

test("the diverging palette has zero in its middle", () => {
  expect([-1, -0.1, 0, 0.1, 1, 2].map(divergingStep)).toEqual([0, 4, 4, 4, 8, 8]);
});

/** WCAG's contrast of two colours. */
function contrast(colours: Colours, a: string, b: string): number {
  const luminance = (name: string) => {
    const channel = (at: number) => {
      const value = Number.parseInt(colours[name]!.slice(at, at + 2), 16) / 255;
      return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    };
    return 0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5);
  };
  const [dark, light] = [luminance(a), luminance(b)].sort((x, y) => x - y) as [number, number];
  return (light + 0.05) / (dark + 0.05);
}

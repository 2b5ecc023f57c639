import { parseHTML } from "linkedom";
import { describe, expect, test } from "vitest";
import { renderCompressionReport } from "../../src/report/compression-report.js";
import type { StudyReport } from "../../src/report/data.js";
import { renderStudyReport } from "../../src/report/study-report.js";
import { madeUpCompression, madeUpStudy } from "./made-up.js";
import { paperStudy } from "./paper-study.js";

/** What the tests use of a document; the project has no types of the DOM. */
interface Page {
  querySelector(selector: string): Node | null;
  querySelectorAll(selector: string): Iterable<Node>;
}
interface Node extends Page {
  readonly textContent: string;
  readonly id: string;
  getAttribute(name: string): string | null;
}

const parse = (page: string): Page => parseHTML(page).document;
const withoutScript = (text: string) => text.replace(/<script>.*<\/script>/s, "");
const texts = (page: Page, selector: string) =>
  [...page.querySelectorAll(selector)].map(({ textContent }) => textContent.replace(/\s+/g, " "));

describe("the paper's results", () => {
  const page = parse(renderStudyReport(paperStudy()));

  test("are summed up in plain words", () => {
    const summary = texts(page, ".summary p");
    expect(summary[0]).toBe(
      "Qwen3-30B-A3B-Instruct-2507 was compressed from 128 to 96 and 64 experts in every layer by 4 methods (Freq, REAP, HC-SMoE and REAM) " +
        "with 10 calibration mixes. The 80 models answered 6 tasks.",
    );
    expect(summary[1]).toContain(
      "The best average is 67.2, 3.1 points below the original's 70.3: HC-SMoE with the mix 0.1 / 0.1 / 0.8.",
    );
    expect(summary[1]).toContain("REAM has the largest hypervolume, 920, followed by REAP with 878; without intervals");
    expect(summary[2]).toContain("No model stays within 2 points of the original's MC of 69.7.");
    expect(summary[2]).toContain("REAP has the largest hypervolume, 931, followed by REAM with 911");
  });

  test("give a frontier with as many points as the paper counts", () => {
    const rows = texts(page, "#pareto-96 tbody tr");
    expect(rows).toHaveLength(40);
    const optimal = (method: string) => rows.filter((row) => row.startsWith(method) && row.endsWith("yes")).length;
    // The paper counts 7 for REAM: of its rounded means, two tie in one score.
    expect(["Freq", "REAP", "HC-SMoE", "REAM"].map(optimal)).toEqual([7, 5, 2, 6]);
  });

  test("have no sections for what was not measured", () => {
    expect(texts(page, "main h2")).toEqual([
      "What a mix trades for what",
      "Where code in the mix leads",
      "What the mix changes",
      "Task by task",
      "Provenance",
    ]);
  });

  test("show the correlations of Fig. 3a", () => {
    expect(texts(page, "#correlations-96 tbody tr")[0]).toBe("general → MC0.960.96−0.770.95");
    expect(page.querySelector("#correlations-64")).toBeNull();
  });
});

describe.each([
  ["a study", renderStudyReport(madeUpStudy())],
  ["a study without intervals", renderStudyReport(paperStudy())],
  ["a compression", renderCompressionReport(madeUpCompression())],
])("%s", (_name, text) => {
  const page = parse(text);

  test("every figure has a title, a description, both sizes and its numbers", () => {
    for (const one of page.querySelectorAll("figure")) {
      expect(one.querySelector("h3")?.textContent).toBeTruthy();
      expect(one.querySelector("figcaption p")?.textContent).toBeTruthy();
      expect(one.querySelector("details table tbody tr"), one.id).toBeTruthy();
      for (const size of ["narrow", "wide"]) {
        const drawn = [...one.querySelectorAll(`.${size} svg`)];
        expect(drawn.length, one.id).toBeGreaterThan(0);
        for (const svg of drawn) {
          expect(svg.getAttribute("role")).toBe("img");
          expect(svg.getAttribute("aria-labelledby")).toBe(`${one.id}-title`);
          expect(svg.querySelector("title"), one.id).toBeTruthy();
        }
      }
    }
  });

  test("ids are unique, and everything that is pointed to is there", () => {
    const ids = [...page.querySelectorAll("[id]")].map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    const known = new Set(ids);
    for (const one of page.querySelectorAll("[href^='#']")) {
      expect(known).toContain(one.getAttribute("href")!.slice(1));
    }
    for (const name of ["aria-labelledby", "aria-describedby"]) {
      for (const one of page.querySelectorAll(`[${name}]`)) expect(known).toContain(one.getAttribute(name));
    }
    const used = new Set([...text.matchAll(/var\(--([\w-]+)\)/g)].map(([, name]) => name));
    expect([...used].filter((name) => !text.includes(`--${name}:`))).toEqual([]);
  });

  test("nothing comes from elsewhere, and nothing is left unsaid", () => {
    expect([...page.querySelectorAll("script[src], link[rel=stylesheet], img, iframe, object, embed")]).toEqual([]);
    const without = text.replaceAll("http://www.w3.org/2000/svg", "").replaceAll("http://www.w3.org/1999/xlink", "");
    expect(without.match(/https?:|url\(/)).toBeNull();
    expect(withoutScript(text).match(/undefined|NaN|\[object|⚠/)).toBeNull();
  });
});

test("a large study stays under 3 MB, and is the same every time", () => {
  const large = { layers: 60, experts: 256 };
  const page = renderStudyReport(madeUpStudy(large));
  expect(Buffer.byteLength(page)).toBeLessThan(3e6);
  expect(renderStudyReport(madeUpStudy(large)) === page).toBe(true);
});

describe("hostile names", () => {
  const hostile = '</title></style></script><script>alert(1)</script><img src=x onerror="alert(1)">&quot;\u202e';

  test("of a study stay text", () => {
    const study = madeUpStudy({ layers: 4, experts: 16 });
    const rename = <T>(values: Readonly<Record<string, T>>) =>
      Object.fromEntries(Object.entries(values).map(([name, value]) => [name + hostile, value]));
    const named: StudyReport = {
      ...study,
      model: { ...study.model, name: hostile },
      methods: study.methods.map((name) => name + hostile),
      domains: study.domains.map((name) => name + hostile),
      tasks: study.tasks.map((task) => ({ ...task, name: task.name + hostile })),
      original: { ...study.original, tasks: rename(study.original!.tasks), heldOut: rename(study.original!.heldOut!) },
      rows: study.rows.map((row) => ({
        ...row,
        method: row.method + hostile,
        mix: rename(row.mix),
        tasks: rename(row.tasks),
        differences: rename(row.differences!),
        heldOut: rename(row.heldOut!),
      })),
      fronts: study.fronts.map((front) => ({
        ...front,
        method: front.method + hostile,
        correlations: { ...front.correlations!, shares: rename(front.correlations!.shares) },
      })),
      observation: study.observation!.map((layer) => ({ ...layer, usage: rename(layer.usage!) })),
      groupings: study.groupings!.map((grouping) => ({ ...grouping, title: hostile })),
      provenance: [{ name: hostile, value: hostile }],
    };
    expectOnlyText(renderStudyReport(named));
  });

  test("of a compression stay text", () => {
    const compression = madeUpCompression({ layers: 2, experts: 8 });
    expectOnlyText(renderCompressionReport({ ...compression, model: hostile, method: hostile }));
  });

  function expectOnlyText(text: string) {
    const page = parse(text);
    expect([...page.querySelectorAll("script")]).toHaveLength(1);
    expect([...page.querySelectorAll("img, [onerror]")]).toEqual([]);
    expect(texts(page, "h1")[0]).toContain('<script>alert(1)</script><img src=x onerror="alert(1)">&quot;\ufffd');
    expect(text.includes("<script>alert") || text.includes("\u202e")).toBe(false);
  }
});

describe("what is missing is left out", () => {
  const study = madeUpStudy({ layers: 4, experts: 16 });

  test("without the original, differences or anything but scores", () => {
    const { model, methods, domains, tasks, rows } = study;
    const bare = rows.slice(0, 1).map(({ method, experts, mix, mc, gen, avg, tasks }) => {
      return { method, experts, mix, mc: mc!, gen: gen!, avg: avg!, tasks };
    });
    const page = renderStudyReport({ model, methods, domains, tasks, rows: bare, fronts: [], provenance: [] });
    expect(withoutScript(page).match(/undefined|NaN/)).toBeNull();
    expect(texts(parse(page), ".summary p")[1]).toMatch(/^16 → 12 experts\. The best average is [\d.]+: REAM/);
  });

  test("without any row", () => {
    const page = renderStudyReport({ ...study, rows: [], fronts: [], observation: [], groupings: [], provenance: [] });
    expect(texts(parse(page), "main h2")).toEqual([]);
  });

  test("without an evaluation", () => {
    const { model, method, experts, layers } = madeUpCompression({ layers: 2, experts: 8 });
    const page = parse(renderCompressionReport({ model, method, experts, layers, sizes: [], provenance: [] }));
    expect(texts(page, "main h2")).toEqual(["How experts were grouped"]);
  });
});

test("overlap of hypervolumes is told", () => {
  const study = madeUpStudy({ layers: 2, experts: 16 });
  const apart = { ...study, fronts: study.fronts.map((front) => ({ ...front, interval: [1, 1.5] as const })) };
  const disjoint = apart.fronts.map((front) => ({
    ...front,
    interval: [front.hypervolume! - 0.01, front.hypervolume! + 0.01] as const,
  }));
  const summary = (data: StudyReport) => texts(parse(renderStudyReport(data)), ".summary p")[1];
  expect(summary({ ...study, fronts: disjoint })).toContain("do not overlap.");
  expect(summary(apart)).toContain("overlap, so that the order may be chance.");
  // A paired difference says more than two intervals do.
  const { experts } = apart.fronts[0]!;
  const [first, second] = apart.fronts
    .filter((front) => front.experts === experts)
    .sort((a, b) => b.hypervolume! - a.hypervolume!)
    .map(({ method }) => method) as [string, string];
  const told = (low: number, high: number) => {
    const hypervolume = { value: -(low + high) / 2, interval: [-high, -low] as const };
    const none = { value: 0 };
    const pair = { experts, first: second, second: first, hypervolume, mc: none, gen: none, avg: none };
    return summary({ ...apart, differences: [pair] });
  };
  expect(told(10.6, 73.1)).toContain("the difference lies between +11 and +73 (95 %).");
  expect(told(-3, 20)).toContain("between −3 and +20 (95 %), so that the order may be chance.");
});

test("a method is compared with those before it, and told how much of the gap it closes", () => {
  const study = madeUpStudy({ layers: 2, experts: 16 });
  const { experts } = study.fronts[0]!;
  const difference = {
    ...{ experts, first: "REAP", second: "refitted", hypervolume: { value: -120.4 } },
    ...{ mc: { value: 0.25 }, gen: { value: -9 }, avg: { value: -4.5, interval: [-6, -3.2] as const } },
    closed: { value: 0.62, interval: [0.5, 0.71] as const },
  };
  const page = parse(renderStudyReport({ ...study, differences: [difference] }));
  expect(texts(page, "#method-pairs tbody tr > *")).toEqual([
    ...["refitted", "REAP", "+4.5 (+3.2 to +6.0)", "−0.3", "+9.0", "+120", "62 % (50 to 71)"],
  ]);
  expect(texts(parse(renderStudyReport(study)), "#method-pairs")).toEqual([]);
});

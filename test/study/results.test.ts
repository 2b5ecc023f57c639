import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { itemsOf, readItems } from "../../src/study/items.js";
import { mixKey } from "../../src/study/mix.js";
import { paperResults } from "../../src/study/paper-results.js";
import { checkResults, readResults, type StudyResults, writeResults } from "../../src/study/results.js";
import { GOLDENS, readJson } from "../support/goldens.js";
import { row, study } from "./analysis/points.js";

const folder = mkdtempSync(join(tmpdir(), "ream-results-"));
const path = join(folder, "results.json");
afterAll(() => rmSync(folder, { recursive: true }));

const code = (name: string) => expect.objectContaining({ code: name });

describe("results of a study", () => {
  const full = study(
    [
      row("REAM", { general: 0.5, math: 0.5 }, 60, 40, {
        seed: 1,
        seconds: 12.5,
        memoryBytes: 2 ** 34,
        outputBytes: 2 ** 35,
        job: "job-1",
        tasks: { gsm8k: { suite: "gen", score: 40, standardError: 1.2, items: 1319 }, arc: { score: 60 } },
        heldOut: { math: { kl: 0.1, agreement: 0.9, perplexity: 7.5 } },
        differences: { gsm8k: { points: -2, low: -3, high: -1, p: 0.01 } },
        items: "items/job-1.json",
      }),
    ],
    { source: "here", note: "a note", original: { mc: 70, gen: 60, avg: 65, tasks: {} } },
  );

  test("are read as they were written", async () => {
    await writeResults(path, full);
    expect(await readResults(path)).toEqual(full);
  });

  test("are checked", () => {
    const refuse = (change: (results: Record<string, unknown>) => void, message: string | RegExp) => {
      const changed = structuredClone(full) as unknown as Record<string, unknown>;
      change(changed);
      expect(() => checkResults(changed, "here")).toThrow(
        expect.objectContaining({ code: "RESULTS_INVALID", message: expect.stringMatching(message), where: "here" }),
      );
    };
    const first = (change: object) => (results: Record<string, unknown>) => {
      results.rows = [{ ...full.rows[0], ...change }];
    };
    refuse((results) => Object.assign(results, { format: "other" }), /format/);
    refuse((results) => Object.assign(results, { version: 2 }), /version/);
    refuse((results) => Object.assign(results, { extra: 1 }), /extra/);
    refuse(first({ mc: 101 }), /rows/);
    refuse(first({ avg: 51 }), /rows\[0\]: avg 51 is not the mean of mc 60 and gen 40/);
    refuse(first({ experts: 129 }), /rows\[0\] has 129 experts, the model has 128/);
    refuse(first({ mix: { general: 0.5 } }), /do not add up/);
    refuse(first({ items: "../items.json" }), /not a path inside/);
    refuse(first({ items: "/etc/items.json" }), /not a path inside/);
    refuse(first({ tasks: { avg: { score: 1 } } }), /a task cannot be called avg/);
    refuse((results) => {
      results.rows = [full.rows[0], { ...full.rows[0], mix: { math: 0.5, general: 0.5, code: 0 } }];
    }, /rows\[0\] and rows\[1\] are the same/);
  });

  test("of other seeds are not the same", () => {
    const rows = [full.rows[0]!, { ...full.rows[0]!, seed: 2 }];
    expect(checkResults({ ...full, rows }, "here").rows).toHaveLength(2);
  });

  test("with the same key twice are refused, as are files that are not there", async () => {
    writeFileSync(path, JSON.stringify(full).replace('"title"', '"title":"other","title"'));
    await expect(readResults(path)).rejects.toThrow(code("JSON_DUPLICATE_KEY"));
    await expect(readResults(join(folder, "missing.json"))).rejects.toThrow(code("RESULTS_READ"));
  });

  test("are not written where they are wrong", async () => {
    const wrong: StudyResults = { ...full, rows: [{ ...full.rows[0]!, experts: 500 }] };
    await expect(writeResults(join(folder, "wrong.json"), wrong)).rejects.toThrow(code("RESULTS_INVALID"));
  });
});

describe("the paper's results", () => {
  const golden = readJson<{ rows: object[] }>(join(GOLDENS, "paper/results.json"));

  test("are 84 rows of six tasks, with shares as printed", () => {
    const results = paperResults(golden);
    expect(results.model).toEqual({ name: "Qwen3-30B-A3B-Instruct-2507", family: "qwen3_moe", experts: 128 });
    expect(results.rows).toHaveLength(84);
    expect(results.original?.tasks.gsm8k).toEqual({ suite: "gen", score: 89.3 });
    expect(results.rows[0]).toMatchObject({ method: "Freq", experts: 64, mix: { general: 0.3, math: 0.3, code: 0.3 } });
    expect(Object.keys(results.rows[0]!.tasks)).toHaveLength(6);
  });

  test("of another layout are refused", () => {
    expect(() => paperResults({ ...golden, rows: [{ method: "REAM" }] })).toThrow(code("RESULTS_INVALID"));
  });
});

test("a mix has one key, however it is written", () => {
  expect(mixKey({ math: 0.3, code: 0.3, general: 0.3 })).toBe(mixKey({ general: 0.33, math: 0.33, code: 0.33 }));
  expect(mixKey({ a: 0.5, b: 0.5, c: 0 })).toBe("a=0.500,b=0.500");
  expect(mixKey({})).toBe("");
});

describe("items", () => {
  const judged = (scores: number[][]) => ({
    name: "gsm8k",
    suite: "gen" as const,
    primary: "exact_match,strict-match",
    items: scores.map((parts, docId) => ({ task: "gsm8k", docId, digest: `d${docId}`, parts, answer: "" })),
  });

  test("are read from the files that the rows name", async () => {
    const items = itemsOf([judged([[1], [0, 1]])]);
    expect(items.tasks.gsm8k).toMatchObject({ suite: "gen", scores: [1, [0, 1]] });
    writeFileSync(join(folder, "one.json"), JSON.stringify(items));
    const results = study([row("A", { a: 1 }, 50, 50, { items: "one.json" }), row("B", { a: 1 }, 50, 50)]);
    expect(await readItems(results, path)).toEqual({ original: undefined, rows: [items, undefined] });
  });

  test("tell by a digest what was asked", () => {
    const [one, other] = [judged([[1], [0]]), judged([[0], [0]])];
    expect(itemsOf([one]).tasks.gsm8k!.asked).toBe(itemsOf([other]).tasks.gsm8k!.asked);
    const reworded = { ...one, items: [one.items[0]!, { ...one.items[1]!, digest: "other" }] };
    expect(itemsOf([reworded]).tasks.gsm8k!.asked).not.toBe(itemsOf([one]).tasks.gsm8k!.asked);
  });

  test("that are missing or wrong are refused", async () => {
    const named = (items: string) => readItems(study([row("A", { a: 1 }, 50, 50, { items })]), path);
    await expect(named("none.json")).rejects.toThrow(code("ITEMS_READ"));
    writeFileSync(
      join(folder, "wrong.json"),
      '{"format": "ream-study-items", "version": 1, "tasks": {"a": {"scores": [2]}}}',
    );
    await expect(named("wrong.json")).rejects.toThrow(code("ITEMS_INVALID"));
  });
});

import { describe, expect, test } from "vitest";
import type { SourceRecord } from "../../src/calibration/readers/record.js";
import { cutText, type SelectionCounts, selectDocuments } from "../../src/calibration/select.js";
import { Random } from "../../src/random.js";
import { collect } from "./folder.js";

async function* records(texts: Iterable<string>, onRead: () => void = () => {}): AsyncGenerator<SourceRecord> {
  for (const text of texts) {
    onRead();
    yield { value: { text }, where: "f:1" };
  }
}

const noCounts = (): SelectionCounts => ({ records: 0, empty: 0, duplicates: 0, limited: false });
const options = (seed: number) => ({
  field: undefined,
  maxCharacters: 100,
  accepts: () => true,
  random: new Random(seed),
});
const numbered = (count: number) => Array.from({ length: count }, (_, i) => `text ${i}`);

describe("selectDocuments", () => {
  test("the same seed gives the same order, another seed another one, and nothing is lost", async () => {
    const chosen = async (seed: number) =>
      (await collect(selectDocuments(records(numbered(500)), options(seed), noCounts()))).map(({ text }) => text);
    expect(await chosen(1)).toEqual(await chosen(1));
    expect(await chosen(1)).not.toEqual(await chosen(2));
    expect((await chosen(1)).sort()).toEqual(numbered(500).sort());
  });

  test("leaves out and counts empty and repeated documents", async () => {
    const counts = noCounts();
    const found = await collect(selectDocuments(records(["a", " ", "b", "a", "a", ""]), options(1), counts));
    expect(found.map(({ text }) => text).sort()).toEqual(["a", "b"]);
    expect(counts).toEqual({ records: 6, empty: 2, duplicates: 2, limited: false });
  });

  test("reads no more of a large source than a window", async () => {
    let read = 0;
    for await (const _ of selectDocuments(
      records(numbered(100_000), () => read++),
      options(1),
      noCounts(),
    ))
      break;
    expect(read).toBe(16_384);
  });

  test("a source without usable records ends at a limit", async () => {
    const counts = noCounts();
    const endless = (function* () {
      for (;;) yield "";
    })();
    expect(await collect(selectDocuments(records(endless), options(1), counts))).toEqual([]);
    expect(counts.limited).toBe(true);
  });

  test("cuts long documents without splitting a character", async () => {
    const [found] = await collect(selectDocuments(records(["x".repeat(1000)]), options(1), noCounts()));
    expect(found!.text).toBe("x".repeat(100));
    expect(cutText("ab😀cd", 3)).toBe("ab");
    expect(cutText("ab😀cd", 4)).toBe("ab😀");
  });
});

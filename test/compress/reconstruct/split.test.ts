import { describe, expect, test } from "vitest";
import { splitTokens } from "../../../src/compress/reconstruct/split.js";
import type { TokenBatch } from "../../../src/model/layer.js";

/** 4 batches of 8 sequences of 10 tokens; three of four are of domain a. */
const batches: readonly TokenBatch[] = Array.from({ length: 4 }, (_, b) => ({
  ...{ sequences: 8, length: 10, ids: new Int32Array(80) },
  keys: Uint32Array.from({ length: 8 }, (_, i) => 8 * b + i),
  domains: Array.from({ length: 8 }, (_, i) => (i % 4 === 0 ? "b" : "a")),
}));

describe("splitTokens", () => {
  test("takes whole sequences, each row once, each domain its share, one in eight held out", () => {
    const { rows, fitted, heldOut, rowOf } = splitTokens(batches, 1_000, 0);
    expect(rows).toBe(320);
    expect(heldOut).toEqual([
      { domain: "b", begin: 280, end: 290 },
      { domain: "a", begin: 290, end: 320 },
    ]);
    expect(fitted).toBe(280);
    const found = rowOf.flatMap((own) => [...own]).sort((a, b) => a - b);
    expect(found).toEqual(Array.from({ length: 320 }, (_, row) => row));
    for (const own of rowOf) {
      for (let token = 0; token < own.length; token++) if (token % 10 > 0) expect(own[token]).toBe(own[token - 1]! + 1);
    }
  });

  test("takes about as many tokens as are wanted", () => {
    const { rows, rowOf } = splitTokens(batches, 160, 0);
    expect(rows).toBe(160);
    const ofB = rowOf.flatMap((own) => [...own].filter((row, token) => row >= 0 && Math.floor(token / 10) % 4 === 0));
    expect(ofB).toHaveLength(40);
  });

  test("fits to all batches that are added, whatever is wanted of the others, and holds none of them out", () => {
    const added: TokenBatch = { sequences: 3, length: 10, ids: new Int32Array(30) };
    const [plain, more] = [splitTokens(batches, 160, 0), splitTokens(batches, 160, 0, [added])];
    expect([more.rows, more.fitted]).toEqual([plain.rows + 30, plain.fitted + 30]);
    const last = [...more.rowOf.at(-1)!].sort((a, b) => a - b);
    expect(last).toEqual(Array.from({ length: 30 }, (_, i) => plain.fitted + i));
    const behind = (row: number) => (row < plain.fitted ? row : row + 30);
    expect(more.heldOut).toEqual(
      plain.heldOut.map(({ domain, begin, end }) => ({ domain, begin: behind(begin), end: behind(end - 1) + 1 })),
    );
    expect(more.rowOf.slice(0, -1)).toEqual(plain.rowOf.map((own) => own.map(behind)));
  });

  test("depends on seed and keys, not on how sequences make batches", () => {
    const single: TokenBatch[] = batches.flatMap(({ keys, domains }) =>
      Array.from({ length: 8 }, (_, i) => ({
        ...{ sequences: 1, length: 10, ids: new Int32Array(10) },
        ...{ keys: keys!.subarray(i, i + 1), domains: [domains![i]!] },
      })),
    );
    const flat = (own: readonly Int32Array[]) => own.flatMap((rows) => [...rows]);
    const [whole, cut] = [splitTokens(batches, 160, 5), splitTokens(single, 160, 5)];
    expect(flat(cut.rowOf)).toEqual(flat(whole.rowOf));
    expect(flat(splitTokens(batches, 160, 6).rowOf)).not.toEqual(flat(whole.rowOf));
  });

  test("leaves padding out, and holds nothing out of a single sequence", () => {
    const mask = new Uint8Array(10).fill(1, 0, 6);
    const one = { sequences: 1, length: 10, ids: new Int32Array(10), mask };
    const { rows, heldOut, rowOf } = splitTokens([one], 1_000, 0);
    expect([rows, heldOut]).toEqual([6, []]);
    expect([...rowOf[0]!]).toEqual([0, 1, 2, 3, 4, 5, -1, -1, -1, -1]);
  });
});

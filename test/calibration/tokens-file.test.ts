import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { calibrationDigest } from "../../src/calibration/calibration.js";
import { loadTokens } from "../../src/calibration/tokens-file.js";
import { temporaryFolder } from "./folder.js";

const folder = temporaryFolder();
const path = join(folder, "tokens.safetensors");

type Entry = { dtype: string; shape: number[]; data: ArrayBufferView };

function write(tensors: Record<string, Entry>) {
  let offset = 0;
  const header: Record<string, unknown> = {};
  for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [offset, offset + data.byteLength] };
    offset += data.byteLength;
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const bytes = Object.values(tensors).map(({ data }) => new Uint8Array(data.buffer));
  writeFileSync(path, Buffer.concat([length, text, ...bytes]));
}

const ids = (values: number[], shape = [2, 3]): Entry => ({ dtype: "I32", shape, data: Int32Array.from(values) });
const bools = (values: number[]): Entry => ({ dtype: "BOOL", shape: [2, 3], data: Uint8Array.from(values) });

describe("loadTokens", () => {
  test("takes all sequences in order", async () => {
    write({ input_ids: ids([1, 2, 3, 4, 5, 0]), attention_mask: bools([1, 1, 1, 1, 1, 0]) });
    const { digest, ...set } = await loadTokens(path, 6);
    expect(set).toEqual({
      sequences: 2,
      length: 3,
      ids: Int32Array.of(1, 2, 3, 4, 5, 0),
      mask: Uint8Array.of(1, 1, 1, 1, 1, 0),
      domains: [{ name: "tokens", ratio: 1, sequences: 2, tokens: 5, source: "tokens.safetensors" }],
      domainOfSequence: Uint8Array.of(0, 0),
      notes: [],
    });
    expect(digest).toBe(calibrationDigest(2, 3, set.ids, set.mask));
  });

  test("64-bit ids give the same digest; without a mask nothing is padding", async () => {
    write({ input_ids: ids([1, 2, 3, 4, 5, 6]) });
    const { digest, mask } = await loadTokens(path);
    expect([...mask]).toEqual([1, 1, 1, 1, 1, 1]);
    write({ input_ids: { dtype: "I64", shape: [2, 3], data: BigInt64Array.of(1n, 2n, 3n, 4n, 5n, 6n) } });
    expect((await loadTokens(path)).digest).toBe(digest);
    write({ input_ids: ids([1, 2, 3, 4, 5, 6], [3, 2]) });
    expect((await loadTokens(path)).digest).not.toBe(digest);
  });

  test("the digest is SHA-256 of a stated text", () => {
    expect(calibrationDigest(1, 2, Int32Array.of(1, 2), Uint8Array.of(1, 0))).toBe(
      "ee11bd7812bb6700d7d27db5459d440ea85f70179c8b46108c861f70044bfce1",
    );
  });

  const good = ids([1, 2, 3, 4, 5, 6]);
  test.each([
    ["no input_ids", { other: good }, /no tensor input_ids/],
    ["a negative id", { input_ids: ids([1, 2, 3, -4, 5, 6]) }, /has -4 in sequence 1/],
    [
      "an id beyond the vocabulary",
      { input_ids: ids([1, 2, 3, 4, 5, 10]) },
      /has 10 in sequence 1; the vocabulary has 10/,
    ],
    ["three dimensions", { input_ids: { ...good, shape: [1, 2, 3] } }, /not \[sequences, length\]/],
    [
      "another mask shape",
      { input_ids: good, attention_mask: { ...bools([1, 1, 1, 1, 1, 1]), shape: [3, 2] } },
      /attention_mask is/,
    ],
    ["a mask of twos", { input_ids: good, attention_mask: bools([1, 1, 2, 1, 1, 1]) }, /has 2/],
    [
      "a sequence of padding",
      { input_ids: good, attention_mask: bools([1, 1, 1, 0, 0, 0]) },
      /Sequence 1 is all padding/,
    ],
    ["no sequences", { input_ids: ids([], [0, 3]) }, /no tokens/],
  ] as [string, Record<string, Entry>, RegExp][])("refuses %s", async (_, tensors, message) => {
    write(tensors);
    await expect(loadTokens(path, 10)).rejects.toMatchObject({
      code: "CALIBRATION_TOKENS",
      message: expect.stringMatching(message),
    });
  });

  test("floats, and a file that is not safetensors, are refused by the reader of such files", async () => {
    write({ input_ids: { ...good, dtype: "F32" } });
    await expect(loadTokens(path)).rejects.toMatchObject({ code: "TENSOR_DTYPE" });
    for (const bytes of [Buffer.alloc(0), Buffer.alloc(16, 255)]) {
      writeFileSync(path, bytes);
      await expect(loadTokens(path)).rejects.toMatchObject({ code: expect.stringMatching(/^SAFETENSORS_/) });
    }
    await expect(loadTokens(join(folder, "absent"))).rejects.toMatchObject({ code: expect.stringMatching(/^FILE_/) });
  });
});

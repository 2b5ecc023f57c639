import { rename, stat, truncate, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FilePool } from "../../src/checkpoint/file-pool.js";
import { SafetensorsFile } from "../../src/checkpoint/safetensors.js";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-encode.js";
import type { DType, Tensor } from "../../src/checkpoint/tensor.js";
import { expectCode, safetensorsBytes, temporaryFolder } from "./support.js";

/** Writes a file, opens it, and closes it at the end. */
async function withFile<T>(bytes: Uint8Array, action: (file: SafetensorsFile, path: string) => Promise<T>): Promise<T> {
  const path = join(await temporaryFolder(), "x.safetensors");
  await writeFile(path, bytes);
  const file = await SafetensorsFile.open(path);
  try {
    return await action(file, path);
  } finally {
    await file.close();
  }
}

const matrix = { a: { dtype: "I16", shape: [3, 2], data_offsets: [0, 12] } };

describe("SafetensorsFile", () => {
  it("gives back the tensors that were written", async () => {
    const dtypes = fc.constantFrom<DType>(
      "F64",
      "F32",
      "F16",
      "BF16",
      "I64",
      "I32",
      "I16",
      "I8",
      "U8",
      "BOOL",
      "F8_E4M3",
      "F8_E5M2",
    );
    const sizes = {
      F64: 8,
      I64: 8,
      F32: 4,
      I32: 4,
      F16: 2,
      BF16: 2,
      I16: 2,
      I8: 1,
      U8: 1,
      BOOL: 1,
      F8_E4M3: 1,
      F8_E5M2: 1,
    };
    const tensor = fc.tuple(dtypes, fc.array(fc.nat(4), { maxLength: 3 })).chain(([dtype, shape]) => {
      const length = shape.reduce((product, size) => product * size, 1) * sizes[dtype];
      return fc.uint8Array({ minLength: length, maxLength: length }).map((data): Tensor => ({ dtype, shape, data }));
    });
    const folder = await temporaryFolder();
    const path = join(folder, "x.safetensors");
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.tuple(fc.string(), tensor), { selector: ([name]) => name, maxLength: 6 }),
        async (all) => {
          await writeFile(path, encodeSafetensors(new Map(all)));
          const file = await SafetensorsFile.open(path);
          expect(file.tensors.size).toBe(all.length);
          for (const [name, expected] of all) expect(await file.read(name)).toEqual(expected);
          await file.close();
        },
      ),
      { numRuns: 50 },
    );
  });

  it("reads rows, into a given array too", () =>
    withFile(safetensorsBytes(matrix, 12), async (file) => {
      expect(await file.read("a", [1, 3])).toEqual({
        dtype: "I16",
        shape: [2, 2],
        data: Uint8Array.of(4, 5, 6, 7, 8, 9, 10, 11),
      });
      expect((await file.read("a", [3, 3])).shape).toEqual([0, 2]);
      const into = new Uint8Array(20);
      const { data } = await file.read("a", [0, 1], into);
      expect([data.buffer === into.buffer, ...data]).toEqual([true, 0, 1, 2, 3]);
      await expect(file.read("a", [0, 3], new Uint8Array(11))).rejects.toThrow(RangeError);
      for (const rows of [
        [-1, 1],
        [2, 1],
        [0, 4],
        [0.5, 1],
        [0, NaN],
      ] as const) {
        await expect(file.read("a", rows)).rejects.toThrow(RangeError);
      }
    }));

  it("yields a tensor of several chunks", async () => {
    const size = 20_000_003;
    const bytes = safetensorsBytes({ a: { dtype: "F8_E8M0", shape: [size], data_offsets: [0, size] } }, size);
    await withFile(bytes, async (file) => {
      let position = bytes.length - size;
      for await (const chunk of file.chunks("a")) {
        expect(chunk.length).toBeLessThanOrEqual(8 * 2 ** 20);
        expect(Buffer.compare(chunk, bytes.subarray(position, position + chunk.length))).toBe(0);
        position += chunk.length;
      }
      expect(position).toBe(bytes.length);
    });
  });

  it("yields nothing for a tensor without elements", () =>
    withFile(safetensorsBytes({ a: { dtype: "F4", shape: [0], data_offsets: [0, 0] } }, 0), async (file) => {
      for await (const chunk of file.chunks("a")) throw new Error(`${chunk.length} bytes`);
      await expectCode("TENSOR_DTYPE", () => file.read("a"));
      await expectCode("TENSOR_MISSING", () => file.read("b"));
    }));

  it("refuses to read more than 2 GiB at once, but reads its rows", async () => {
    // A sparse file: it takes no room.
    const rows = 2 ** 20 + 1;
    const head = safetensorsBytes({ a: { dtype: "U8", shape: [rows, 2048], data_offsets: [0, rows * 2048] } }, 0);
    const path = join(await temporaryFolder(), "x.safetensors");
    await writeFile(path, head);
    await truncate(path, head.length + rows * 2048);
    const file = await SafetensorsFile.open(path);
    await expectCode("TENSOR_TOO_LARGE", () => file.read("a"));
    expect((await file.read("a", [rows - 1, rows])).data).toEqual(new Uint8Array(2048));
    await file.close();
  });

  const prefixed = (length: bigint, rest = 0) => {
    const bytes = Buffer.alloc(8 + rest, " ");
    bytes.writeBigUInt64LE(length);
    return bytes;
  };
  it.each([
    ["an empty file", "SAFETENSORS_LENGTH", new Uint8Array(0)],
    ["7 bytes", "SAFETENSORS_LENGTH", new Uint8Array(7)],
    ["a header of no bytes", "JSON_SYNTAX", prefixed(0n)],
    ["a header of 2^64 - 1 bytes", "SAFETENSORS_HEADER_LENGTH", prefixed(2n ** 64n - 1n)],
    ["a header of 100,000,001 bytes", "SAFETENSORS_HEADER_LENGTH", prefixed(100_000_001n)],
    ["a header of 100,000,000 bytes that are not there", "SAFETENSORS_LENGTH", prefixed(100_000_000n)],
    ["a header beyond the end", "SAFETENSORS_LENGTH", prefixed(9n, 8)],
    ["a missing byte", "SAFETENSORS_LENGTH", safetensorsBytes(matrix, 11)],
    ["a trailing byte", "SAFETENSORS_LENGTH", safetensorsBytes(matrix, 13)],
    ["data behind no tensors", "SAFETENSORS_LENGTH", safetensorsBytes("{}", 1)],
  ])("refuses %s with %s", async (_, code, bytes) => {
    const path = join(await temporaryFolder(), "x.safetensors");
    await writeFile(path, bytes);
    await expectCode(code, () => SafetensorsFile.open(path));
  });

  it("refuses missing files, folders, and files that it may not read as such", async () => {
    const folder = await temporaryFolder();
    await expectCode("FILE_MISSING", () => SafetensorsFile.open(join(folder, "none")));
    await expectCode("FILE_READ", () => SafetensorsFile.open(folder));
    // A device without an end must not be read.
    await expectCode("FILE_READ", () => SafetensorsFile.open("/dev/zero"));
  });

  // Small tensors are read at once, large ones by another thread.
  it.each([
    ["small", 6],
    ["large", 2 ** 22],
  ])("notices that the file of a %s tensor was truncated while it was open", (_, size) =>
    withFile(
      safetensorsBytes({ a: { dtype: "U8", shape: [size], data_offsets: [0, size] } }, size),
      async (file, path) => {
        expect((await file.read("a")).data).toHaveLength(size);
        await truncate(path, (await stat(path)).size - 1);
        await expectCode("SAFETENSORS_TRUNCATED", () => file.read("a"));
      },
    ),
  );
});

describe("FilePool", () => {
  it("keeps a limited number of files open and opens the others again", async () => {
    const folder = await temporaryFolder();
    const pool = new FilePool(2);
    const paths = ["a", "b", "c", "d"].map((name) => join(folder, name));
    for (const path of paths) await writeFile(path, path);
    const handles = new Set<unknown>();
    for (const path of [...paths, ...paths]) {
      await pool.use(path, async (handle) => {
        handles.add(handle);
        expect((await handle.read(Buffer.alloc(1000), 0, 1000, 0)).bytesRead).toBe(path.length);
      });
    }
    expect(handles.size).toBe(8);
    const fds = [...handles].map((handle) => (handle as { fd: number }).fd);
    expect(fds.filter((fd) => fd >= 0).length).toBe(2);
    await pool.close();
    expect([...handles].every((handle) => (handle as { fd: number }).fd === -1)).toBe(true);
    await expect(pool.use(paths[0]!, async () => 1)).rejects.toThrow(/closed/);
  });

  it("refuses a file that was replaced since it was opened first", async () => {
    const folder = await temporaryFolder();
    const [a, b] = [join(folder, "a"), join(folder, "b")];
    await writeFile(a, "old");
    await writeFile(b, "other");
    const pool = new FilePool(1);
    const size = (path: string) => pool.use(path, async (handle) => (await handle.stat()).size);
    expect([await size(a), await size(b)]).toEqual([3, 5]);
    await writeFile(join(folder, "new"), "new");
    await utimes(join(folder, "new"), 1, 1);
    await rename(join(folder, "new"), a);
    await expectCode("FILE_CHANGED", () => size(a));
    await pool.close();
  });
});

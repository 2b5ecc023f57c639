import { mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { buildIndex, OutputFolder } from "../../src/checkpoint/output.js";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-encode.js";
import type { ShardTensor } from "../../src/checkpoint/shard-writer.js";
import type { Tensor } from "../../src/checkpoint/tensor.js";
import { expectCode, temporaryFolder } from "./support.js";

const options = { fingerprint: "one" };

async function* inPieces(data: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < data.length; i += size) yield data.subarray(i, i + size);
}

const a = { name: "a", dtype: "U8", shape: [5], data: Uint8Array.of(1, 2, 3, 4, 5) } as const;
const b = { name: "b", dtype: "F32", shape: [], data: Uint8Array.of(0, 0, 128, 63) } as const;

it("appears whole under its name", async () => {
  const folder = await temporaryFolder();
  const target = join(folder, "deep", "out");
  const output = await OutputFolder.create(target, options);
  await output.writeShard("1.safetensors", [a, { ...b, data: async () => b.data }], { format: "pt" });
  await output.writeShard("2.safetensors", [{ ...a, name: "c", data: () => inPieces(a.data, 2) }]);
  const named = [
    { ...a, file: "1.safetensors" },
    { ...b, file: "1.safetensors" },
    { ...a, name: "c", file: "2.safetensors" },
  ];
  await output.writeFile("model.safetensors.index.json", buildIndex(named));
  await writeFile(join(folder, "source.txt"), "text");
  await output.copyFile(join(folder, "source.txt"), "templates/copy.txt");
  await output.writeFile("config.json", "{}");
  expect([await output.has("config.json"), await output.has("templates/copy.txt"), await output.has("none")]).toEqual([
    true,
    true,
    false,
  ]);
  expect(await readdir(join(folder, "deep"))).toEqual(["out.partial"]);
  await output.finish();
  await output.close();
  expect(await readdir(join(folder, "deep"))).toEqual(["out"]);
  expect((await readdir(target)).sort()).toEqual([
    "1.safetensors",
    "2.safetensors",
    "config.json",
    "model.safetensors.index.json",
    "templates",
  ]);
  expect(await readFile(join(target, "templates/copy.txt"), "utf8")).toBe("text");
  const expected = encodeSafetensors(
    new Map<string, Tensor>([
      ["a", a],
      ["b", b],
    ]),
    { format: "pt" },
  );
  expect(Buffer.compare(await readFile(join(target, "1.safetensors")), expected)).toBe(0);
  const checkpoint = await Checkpoint.open(target);
  expect([checkpoint.warnings, checkpoint.files]).toEqual([[], ["templates/copy.txt"]]);
  expect((await checkpoint.read("c")).data).toEqual(a.data);
  await checkpoint.close();
});

it("goes on where an earlier run stopped", async () => {
  const target = join(await temporaryFolder(), "out");
  const first = await OutputFolder.create(target, options);
  await first.writeFile("a.txt", "a");
  await first.append({ step: 1 });
  await first.close();
  const second = await OutputFolder.create(target, options);
  expect([await second.has("a.txt"), second.journal]).toEqual([true, [{ step: 1 }]]);
  await second.append({ step: 2 });
  await second.close();
  const mismatch = await expectCode("RESUME_MISMATCH", () => OutputFolder.create(target, { fingerprint: "two" }));
  expect(mismatch.hint).toContain("--restart");
  const third = await OutputFolder.create(target, { fingerprint: "two", restart: true });
  expect([await third.has("a.txt"), third.journal]).toEqual([false, []]);
  await third.finish();
  expect(await readdir(target)).toEqual([]);
});

it("refuses what is there, but takes an empty folder", async () => {
  const folder = await temporaryFolder();
  const target = join(folder, "out");
  await mkdir(target);
  const output = await OutputFolder.create(target, options);
  await output.writeFile("a.txt", "");
  // Something arrived in the meantime: it stays, and so does the work.
  await writeFile(join(target, "x"), "");
  await expectCode("OUTPUT_EXISTS", () => output.finish());
  await output.close();
  expect(await readdir(target)).toEqual(["x"]);
  expect(await readdir(join(`${target}.partial`, "model"))).toContain("a.txt");
  await expectCode("OUTPUT_EXISTS", () => OutputFolder.create(target, options));
  await writeFile(join(folder, "file"), "");
  await expectCode("OUTPUT_EXISTS", () => OutputFolder.create(join(folder, "file"), options));
  await symlink("nowhere", join(folder, "dangling"));
  await expectCode("OUTPUT_EXISTS", () => OutputFolder.create(join(folder, "dangling"), options));
});

it("clears what a crash right after the last rename left", async () => {
  const target = join(await temporaryFolder(), "out");
  await mkdir(target);
  await writeFile(join(target, "config.json"), "{}");
  await mkdir(join(`${target}.partial`, ".ream"), { recursive: true });
  await expectCode("OUTPUT_EXISTS", () => OutputFolder.create(target, options));
  await expect(readdir(`${target}.partial`)).rejects.toThrow("ENOENT");
  expect(await readdir(target)).toEqual(["config.json"]);
});

it("refuses a second writer", async () => {
  const target = join(await temporaryFolder(), "out");
  const output = await OutputFolder.create(target, options);
  await expectCode("OUTPUT_BUSY", () => OutputFolder.create(target, options));
  await expectCode("OUTPUT_BUSY", () => OutputFolder.create(target, { ...options, restart: true }));
  await output.close();
  await (await OutputFolder.create(target, options)).close();
});

it("refuses to touch the source, by any path", async () => {
  const folder = await temporaryFolder();
  const source = join(folder, "model");
  await mkdir(source);
  await writeFile(join(source, "config.json"), "{}");
  await symlink(source, join(folder, "link"));
  for (const target of [join(source, "out"), join(folder, "link", "new", "out"), join(source, "..", "model", "x")]) {
    await expectCode("OUTPUT_IN_SOURCE", () => OutputFolder.create(target, { ...options, source }));
  }
  await expectCode("OUTPUT_IN_SOURCE", () =>
    OutputFolder.create(join(source, "out"), { ...options, source: join(folder, "link") }),
  );
  await expectCode("OUTPUT_EXISTS", () => OutputFolder.create(source, { ...options, source }));
  // The source is what would be the partial folder, or lies in it.
  await mkdir(join(folder, "out.partial", ".ream"), { recursive: true });
  await mkdir(join(folder, "out.partial", "model"));
  for (const inner of ["out.partial", "out.partial/model"]) {
    const inside = { ...options, source: join(folder, inner), restart: true };
    await expectCode("OUTPUT_IN_SOURCE", () => OutputFolder.create(join(folder, "out"), inside));
  }
  const beside = await OutputFolder.create(join(folder, "model-small"), { ...options, source });
  await beside.close();
});

it("leaves a partial folder alone that it did not make", async () => {
  const target = join(await temporaryFolder(), "out");
  await mkdir(`${target}.partial`);
  await writeFile(join(`${target}.partial`, "precious"), "");
  for (const restart of [true, false]) {
    await expectCode("RESUME_MISMATCH", () => OutputFolder.create(target, { ...options, restart }));
  }
  expect(await readdir(`${target}.partial`)).toEqual(["precious"]);
});

it("leaves no part of a file whose data fails, is too short or too long", async () => {
  const target = join(await temporaryFolder(), "out");
  const output = await OutputFolder.create(target, options);
  await output.writeFile("1.safetensors", "old");
  const failing = async function* (): AsyncGenerator<Uint8Array> {
    yield a.data.subarray(0, 3);
    throw new Error("source failed");
  };
  const bad: [ShardTensor["data"], RegExp][] = [
    [failing, /source failed/],
    [async () => a.data.subarray(1), /4 of 5 bytes/],
    [() => inPieces(new Uint8Array(6), 3), /6 of 5 bytes/],
  ];
  for (const [data, message] of bad) {
    await expect(output.writeShard("1.safetensors", [b, { ...a, data }])).rejects.toThrow(message);
    expect(await readdir(output.content)).toEqual(["1.safetensors"]);
    expect(await readdir(join(output.partial, ".ream", "new"))).toEqual([]);
    expect(await readFile(join(output.content, "1.safetensors"), "utf8")).toBe("old");
  }
  await expectCode("FILE_MISSING", () => output.copyFile(join(target, "none"), "x"));
  await expectCode("FILE_NAME", () => output.writeFile("../x", ""));
  await output.close();
  await expect(output.writeFile("x", "")).rejects.toThrow(/closed/);
});

it("tells why it cannot write", async () => {
  const folder = await temporaryFolder();
  await writeFile(join(folder, "file"), "");
  const error = await expectCode("OUTPUT_WRITE", () => OutputFolder.create(join(folder, "file", "out"), options));
  expect(error.message).toContain("ENOTDIR");
});

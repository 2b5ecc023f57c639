import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encode } from "../../src/checkpoint/dtypes.js";
import { weightFormat } from "../../src/checkpoint/quantised/formats.js";
import { gridOfRange, SCALE_DTYPES } from "../../src/checkpoint/quantised/integer-grid.js";
import { packedIntegers, plainIntegers } from "../../src/checkpoint/quantised/integers.js";
import { quantizationConfig } from "../../src/checkpoint/quantised/quantization-config.js";
import { scaledE4m3 } from "../../src/checkpoint/quantised/scaled-e4m3.js";
import { turnedIntegers } from "../../src/checkpoint/quantised/turned-integers.js";
import {
  WEIGHT_FORMAT_NAMES,
  type WeightFormatName,
  type WeightStorage,
} from "../../src/checkpoint/quantised/weight-format.js";
import { SafetensorsFile } from "../../src/checkpoint/safetensors.js";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-encode.js";
import type { DType, Tensor } from "../../src/checkpoint/tensor.js";
import { createNativeBackend } from "../../src/engine/native/native-backend.js";
import { compress } from "../../src/pipeline/compress.js";
import { Random } from "../../src/random.js";
import { writeQuantised } from "../support/quantised-model.js";
import { writeSyntheticModel } from "../support/synthetic-model.js";

const here = fileURLToPath(new URL(".", import.meta.url));
const python = join(here, "../../.peers/bin/python");
const folder = mkdtempSync(join(tmpdir(), "ream-compressed-tensors-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const run = (what: "make" | "check" | "load", ...more: string[]) =>
  execFileSync(python, [join(here, "compressed_tensors_check.py"), what, folder, ...more], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });

const SHAPES = [
  [12, 128],
  [64, 256],
  [130, 384],
] as const;

/** Storages that are read, not written. */
const READ: Readonly<Record<string, WeightStorage>> = {
  "int8-plain": plainIntegers({ bits: 8, group: undefined, symmetric: true }, "int-quantized"),
  "int8-plain-asym": plainIntegers({ bits: 8, group: undefined, symmetric: false }, "int-quantized"),
  "int8-asym": packedIntegers({ bits: 8, group: 64, symmetric: false }),
  "int4-channel": packedIntegers({ bits: 4, group: undefined, symmetric: true }),
  "fp8-tensor": scaledE4m3("tensor", "float-quantized"),
};
const STORAGES: Readonly<Record<string, WeightStorage>> = {
  ...Object.fromEntries(WEIGHT_FORMAT_NAMES.map((name) => [name, weightFormat(name)])),
  ...READ,
};

interface Grids {
  readonly bits: 4 | 8;
  readonly symmetric: boolean;
  readonly dtype: DType;
  readonly low: readonly number[];
  readonly high: readonly number[];
  readonly scales: readonly number[];
  readonly zeros: readonly number[];
}

function weight(seed: number, [rows, columns]: readonly [number, number], dtype: DType): Tensor {
  const random = new Random(seed);
  const values = Float32Array.from({ length: rows * columns }, (_, i) =>
    Math.floor(i / columns) === 1 ? 0 : random.normal() * (random.below(50) === 0 ? 2 : 0.05),
  );
  return { dtype, shape: [rows, columns], data: encode(dtype, values) };
}

// Skipped, and counted as skipped, where the Python peers are not installed (test/peers/README.md).
describe.skipIf(!existsSync(python))("compressed-tensors", () => {
  describe("what it has compressed", () => {
    let file: SafetensorsFile;
    beforeAll(async () => {
      run("make");
      file = await SafetensorsFile.open(join(folder, "theirs.safetensors"));
    });
    afterAll(() => file.close());

    test.each(Object.keys(STORAGES))("%s is decoded to the same bits", async (name) => {
      for (const dtype of SCALE_DTYPES) {
        for (const shape of SHAPES) {
          const prefix = `${name}/${dtype}/${shape.join("x")}.`;
          const names = [...file.tensors.keys()].filter((key) => key.startsWith(prefix));
          const parts = new Map<string, Tensor>();
          for (const key of names) parts.set(key.slice(prefix.length), await file.read(key));
          const decoded = STORAGES[name]!.decode(parts, shape);
          const { dtype: found, data } = parts.get("values")!;
          expect([prefix, decoded.dtype, decoded.shape]).toEqual([prefix, found, shape]);
          expect(Buffer.compare(decoded.data, data), prefix).toBe(0);
        }
      }
    });

    test.each(WEIGHT_FORMAT_NAMES.filter((name) => name !== "nvfp4"))(
      "%s has the bits of ours where the source is float32",
      async (name) => {
        const backend = createNativeBackend({ precision: "f32", threads: 2 });
        for (const shape of SHAPES) {
          const prefix = `${name}/F32/${shape.join("x")}.`;
          const parts = weightFormat(name).encode(backend, await file.read(`${prefix}weight_source`), "F32");
          for (const [suffix, part] of parts) {
            const { dtype, shape: size, data } = await file.read(prefix + suffix);
            expect([suffix, part.dtype, part.shape]).toEqual([suffix, dtype, size]);
            expect(Buffer.compare(part.data, data), prefix + suffix).toBe(0);
          }
        }
      },
    );

    test.each([
      ["awq", turnedIntegers({ storage: "awq", bits: 4, group: 32, zeroOffset: 0, symmetric: false })],
      ["gptq-4", turnedIntegers({ storage: "gptq", bits: 4, group: 32, zeroOffset: 1, symmetric: false })],
      ["gptq-8", turnedIntegers({ storage: "gptq", bits: 8, group: 32, zeroOffset: 1, symmetric: false })],
      ["gptq_v2-4", turnedIntegers({ storage: "gptq", bits: 4, group: 32, zeroOffset: 0, symmetric: false })],
      ["gptq_v2-8", turnedIntegers({ storage: "gptq", bits: 8, group: 32, zeroOffset: 0, symmetric: false })],
    ])("weights of %s have the values that these give them", async (name, storage) => {
      const turned = await SafetensorsFile.open(join(folder, "turned.safetensors"));
      const names = [...turned.tensors.keys()].filter((key) => key.startsWith(`${name}.`));
      const parts = new Map<string, Tensor>();
      for (const key of names) parts.set(key.slice(name.length + 1), await turned.read(key));
      await turned.close();
      const decoded = storage.decode(parts, [64, 128]);
      expect([decoded.dtype, decoded.shape]).toEqual(["F16", parts.get("values")!.shape]);
      expect(Buffer.compare(decoded.data, parts.get("values")!.data)).toBe(0);
    });

    test("ranges have the same scales and zero points", () => {
      const grids = JSON.parse(readFileSync(join(folder, "grids.json"), "utf8")) as Grids[];
      expect(grids).toHaveLength(12);
      for (const { bits, symmetric, dtype, low, high, scales, zeros } of grids) {
        const found = low.map((minimum, i) =>
          gridOfRange(minimum, high[i]!, { bits, group: undefined, symmetric }, dtype),
        );
        expect(found.map(({ scale }) => scale)).toEqual(scales);
        expect(found.map(({ zero }) => zero)).toEqual(zeros);
      }
    });
  });

  test("decompresses what we have rounded to the same bits, and understands our config", () => {
    const backend = createNativeBackend({ precision: "f32", threads: 2 });
    const tensors = new Map<string, Tensor>();
    const schemes: Record<string, unknown> = {};
    const configs: Record<string, unknown> = {};
    for (const name of WEIGHT_FORMAT_NAMES) {
      const format = weightFormat(name);
      const config = quantizationConfig(format, ["lm_head", "re:.*gate$"]);
      configs[name] = config;
      for (const dtype of SCALE_DTYPES) {
        for (const [seed, shape] of SHAPES.entries()) {
          const parts = format.encode(backend, weight(seed, shape, dtype), dtype);
          const key = `${name}/${dtype}/${shape.join("x")}`;
          for (const [suffix, tensor] of parts) tensors.set(`${key}.${suffix}`, tensor);
          tensors.set(`${key}.values`, format.decode(parts, shape));
          schemes[key] = (config.config_groups as { group_0: unknown }).group_0;
        }
      }
    }
    for (const name of ["fp8", "fp8-block"] satisfies WeightFormatName[])
      configs[`${name}-dynamic`] = quantizationConfig(weightFormat(name), [], { dynamicActivations: true });
    writeFileSync(join(folder, "ours.safetensors"), encodeSafetensors(tensors));
    writeFileSync(join(folder, "ours.json"), JSON.stringify(schemes));
    writeFileSync(join(folder, "configs.json"), JSON.stringify(configs));
    const said = run("check").trim().split("\n");
    expect(said.filter((line) => !line.endsWith(" same"))).toEqual([]);
    expect(said).toHaveLength(Object.keys(schemes).length + Object.keys(configs).length);
  });

  // Of experts, transformers 5.23 does not hand over zero points and global scales, and cannot take scales of blocks.
  test("transformers loads models of mixtures in our formats as their decoded weights", async () => {
    const backend = createNativeBackend({ precision: "f32", threads: 2 });
    const source = join(folder, "source");
    writeSyntheticModel(source, { layers: 1, hidden: 128, width: 256, experts: 4, topK: 2, vocabulary: 50 });
    const names = ["int8", "int4-g32", "int4-g128", "fp8", "mxfp4"] satisfies WeightFormatName[];
    for (const name of names) await writeQuantised(source, join(folder, name), name, backend);
    expect(
      run("load", ...names)
        .trim()
        .split("\n"),
    ).toEqual(names.map((name) => `${name} same`));
  });

  // The quantised result of a compression, and the same with all of its experts as floats.
  test("transformers loads what REAM makes of quantised mixtures as its decoded weights", async () => {
    const backend = createNativeBackend({ precision: "f32", threads: 2 });
    const source = join(folder, "mixture");
    writeSyntheticModel(source, { layers: 2, hidden: 128, width: 256, experts: 8, topK: 2, vocabulary: 50 });
    const tokens = join(folder, "calibration.safetensors");
    const data = new Uint8Array(Int32Array.from({ length: 64 }, (_, i) => (7 * i) % 50).buffer);
    writeFileSync(tokens, encodeSafetensors(new Map([["input_ids", { dtype: "I32", shape: [4, 16], data }]])));
    const names = ["int8", "int4-g32", "fp8", "mxfp4", "fp8-deepseek"];
    for (const name of names) {
      const target = join(folder, `${name}-reduced`);
      await writeQuantised(source, join(target, "whole"), name, backend);
      const common = { tokens, experts: 6, threads: 2, precision: "f32" } as const;
      await finish(compress({ ...common, model: join(target, "whole/quantised"), out: join(target, "quantised") }));
      const decoded = { out: join(target, "decoded"), outputDtype: "bf16" } as const;
      await finish(compress({ ...common, model: join(target, "quantised"), ...decoded }));
    }
    expect(
      run("load", ...names.map((name) => `${name}-reduced`))
        .trim()
        .split("\n"),
    ).toEqual(names.map((name) => `${name}-reduced same`));
  });
});

async function finish(running: AsyncGenerator<unknown, unknown>): Promise<void> {
  for (let step = await running.next(); !step.done; ) step = await running.next();
}

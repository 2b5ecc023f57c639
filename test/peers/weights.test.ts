import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decode } from "../../src/checkpoint/dtypes.js";
import type { IntegerCodes, IntegerGrid } from "../../src/checkpoint/quantised/integer-grid.js";
import { SafetensorsFile } from "../../src/checkpoint/safetensors.js";
import { gptq } from "../../src/compress/weights/gptq.js";
import { factorGram } from "../../src/compress/weights/gram-factor.js";
import { pruneMagnitude } from "../../src/compress/weights/magnitude.js";
import { pruneSparsegpt } from "../../src/compress/weights/sparsegpt.js";
import { type MatrixShape, parseSparsity, type Sparsity } from "../../src/compress/weights/sparsity.js";
import { pruneWanda } from "../../src/compress/weights/wanda.js";
import type { Backend } from "../../src/engine/backend.js";
import { BACKENDS, gramOf, minus } from "../compress/weights/matrices.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const python = join(root, ".peers/bin/python");
const folder = mkdtempSync(join(tmpdir(), "ream-weights-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const SPARSITIES: Readonly<Record<string, Sparsity>> = {
  half: parseSparsity("50%"),
  most: parseSparsity("0.7"),
  "2:4": parseSparsity("2:4"),
  "4:8": parseSparsity("4:8"),
};
const GRIDS: Readonly<Record<string, IntegerGrid>> = {
  "int4-g32": { bits: 4, group: 32, symmetric: true },
  "int4-g32-asymmetric": { bits: 4, group: 32, symmetric: false },
  "int4-g128": { bits: 4, group: 128, symmetric: true },
  "int4-g16-asymmetric": { bits: 4, group: 16, symmetric: false },
  int8: { bits: 8, group: undefined, symmetric: true },
  "int8-asymmetric": { bits: 8, group: undefined, symmetric: false },
};

/** A matrix of the golden layer with the inputs that calibration text brings it. */
interface Golden {
  readonly name: string;
  readonly shape: MatrixShape;
  readonly weight: Float32Array;
  readonly inputs: Float32Array;
}

// Skipped, and counted as skipped, where the Python peers are not installed (test/peers/README.md).
describe.skipIf(!existsSync(python))("a layer of the demo model, pruned and quantised as PyTorch does", () => {
  let file: SafetensorsFile;
  const goldens: Golden[] = [];
  const read = async (name: string) => decode(await file.read(name));
  const bytes = async (name: string) => new Int8Array((await file.read(name)).data);

  beforeAll(async () => {
    const [script, texts] = [join(root, "test/peers/weights_check.py"), "demo/data/calibration/general.jsonl"];
    execFileSync(python, [script, join(root, "demo/model"), join(root, texts), folder], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    file = await SafetensorsFile.open(join(folder, "layer.safetensors"));
    for (const [name, { shape }] of file.tensors) {
      if (!name.endsWith(".weight")) continue;
      const own = name.slice(0, -".weight".length);
      const [weight, inputs] = await Promise.all([read(name), read(`${own}.inputs`)]);
      goldens.push({ name: own, shape: shape as [number, number], weight, inputs });
    }
    expect(goldens.length).toBe(10);
  }, 600_000);
  afterAll(() => file?.close());

  describe.each(BACKENDS)("%s", (_, backend) => {
    test.each(Object.entries(SPARSITIES))("magnitude and Wanda, %s: the same weights", async (name, sparsity) => {
      for (const golden of goldens) {
        const [byMagnitude, byWanda] = [golden.weight.slice(), golden.weight.slice()];
        const squares = new Float64Array(golden.shape[1]);
        backend.addColumnSquares(squares, golden.inputs);
        pruneMagnitude(backend, byMagnitude, golden.shape, sparsity);
        pruneWanda(backend, byWanda, golden.shape, squares, sparsity);
        expect(byMagnitude).toEqual(await read(`${golden.name}.magnitude.${name}`));
        expect(byWanda).toEqual(await read(`${golden.name}.wanda.${name}`));
      }
    });

    test.each(Object.entries(SPARSITIES))("SparseGPT, %s", async (name, sparsity) => {
      for (const golden of goldens) {
        const { weight, shape } = golden;
        const gram = gramOf(backend, golden.inputs, shape[1]);
        const [pruned, expected] = [weight.slice(), await read(`${golden.name}.sparsegpt.${name}`)];
        pruneSparsegpt(backend, pruned, shape, factorGram(backend, gram, shape[1]), sparsity);
        // In float64 nothing is decided otherwise; in float32 a near tie may be, and then the row's later columns differ.
        const exact = backend.name === "reference";
        const masks = [pruned, expected].map((values) => Int8Array.from(values, (value) => (value === 0 ? 0 : 1)));
        expect(differing(masks[0]!, masks[1]!)).toBeLessThanOrEqual(exact ? 0 : 0.002);
        const rows = sameRows(masks[0]!, masks[1]!, shape);
        expect(rows.length).toBeGreaterThanOrEqual(exact ? shape[0] : 0.9 * shape[0]);
        if (exact) expectNear(pruned, expected, 1e-5);
        expectEqualErrors(backend, gram, weight, pruned, expected, exact ? 1e-5 : 0.02);
      }
    });

    const grids = Object.entries(GRIDS).flatMap(([name, grid]) =>
      [false, true].map((activationOrder) => [name, activationOrder ? "activations" : "columns", grid] as const),
    );
    test.each(grids)("GPTQ, %s in the order of %s", async (name, order, grid) => {
      for (const golden of goldens) {
        const { weight, shape } = golden;
        const gram = gramOf(backend, golden.inputs, shape[1]);
        const factor = factorGram(backend, gram, shape[1], { activationOrder: order === "activations" });
        const result = gptq(backend, weight, shape, factor, { grid, scaleDtype: "BF16" });
        const kind = `${golden.name}.gptq.${name}.${order}`;
        const [codes, scales, zeros] = [
          await bytes(`${kind}.codes`),
          await read(`${kind}.scales`),
          await bytes(`${kind}.zeros`),
        ];
        const exact = backend.name === "reference";
        const rows = sameRows(result.codes, codes, shape);
        expect(rows.length / shape[0]).toBeGreaterThanOrEqual(exact ? 1 : 0.8);
        const groups = scales.length / shape[0];
        for (const r of rows) {
          const [first, end] = [r * groups, (r + 1) * groups];
          expectNear(result.scales.subarray(first, end), scales.subarray(first, end), exact ? 0 : 2 ** -8);
          if (result.zeros !== undefined) {
            expect(result.zeros.subarray(first, end)).toEqual(zeros.subarray(first, end));
          }
        }
        const expected = { ...result, codes, scales, zeros: grid.symmetric ? undefined : zeros };
        const values = [result, expected].map((matrix) => valuesOf(matrix, grid.group ?? shape[1]));
        expectEqualErrors(backend, gram, weight, values[0]!, values[1]!, exact ? 1e-5 : 0.02);
      }
    });
  });
});

function valuesOf({ rows, columns, codes, scales, zeros }: IntegerCodes, group: number): Float32Array {
  const groups = Math.ceil(columns / group);
  return Float32Array.from({ length: rows * columns }, (_, i) => {
    const g = Math.floor(i / columns) * groups + Math.floor((i % columns) / group);
    return scales[g]! * (codes[i]! - (zeros?.[g] ?? 0));
  });
}

/** Share of places where two arrays differ. */
function differing(a: Int8Array, b: Int8Array): number {
  expect(a.length).toBe(b.length);
  return a.filter((value, i) => value !== b[i]).length / a.length;
}

/** Rows that are equal in both. */
function sameRows(a: Int8Array, b: Int8Array, [rows, columns]: MatrixShape): number[] {
  const equal = (r: number) => a.subarray(r * columns, (r + 1) * columns).every((v, j) => v === b[r * columns + j]);
  return Array.from({ length: rows }, (_, r) => r).filter(equal);
}

function expectNear(actual: Float32Array, expected: Float32Array, tolerance: number): void {
  const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const difference = expected.reduce((most, value, i) => Math.max(most, Math.abs(actual[i]! - value)), 0);
  expect(difference).toBeLessThanOrEqual(tolerance * largest);
}

/** Where near ties go either way the outputs change by as much. */
function expectEqualErrors(
  backend: Backend,
  gram: Float64Array,
  weight: Float32Array,
  actual: Float32Array,
  expected: Float32Array,
  tolerance: number,
): void {
  const errors = [actual, expected].map((values) => backend.outputError(minus(weight, values), gram));
  expect(Math.abs(errors[0]! / errors[1]! - 1)).toBeLessThan(tolerance);
}

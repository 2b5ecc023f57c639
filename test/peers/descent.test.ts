import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import type { Activation } from "../../src/engine/backend.js";
import type { JoinedExperts, RoutedBatch } from "../../src/engine/descent.js";
import { Random } from "../../src/random.js";
import { BACKENDS, normals } from "../compress/weights/matrices.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const python = join(root, ".peers/bin/python");
const folder = mkdtempSync(join(tmpdir(), "ream-descent-"));
afterAll(() => rmSync(folder, { recursive: true }));

const [COUNT, HIDDEN, WIDTH, TOKENS] = [3, 11, 7, 40];
const STEPS = 5;

interface Case {
  readonly activation: Activation;
  readonly gated?: boolean;
  readonly biased?: boolean;
  readonly scaled?: boolean;
}
const CASES: readonly Case[] = [
  ...(["silu", "gelu", "gelu_tanh", "sigmoid"] as const).map((activation) => ({ activation })),
  { activation: "silu", biased: true },
  { activation: "silu", scaled: true },
  { activation: "relu", gated: false },
  { activation: { kind: "clamped_swiglu", alpha: 1.702, limit: 1.5 }, biased: true },
  { activation: { kind: "clamped_silu", limit: 0.8 } },
];

function made({ activation, gated = true, biased = false, scaled = false }: Case) {
  const random = new Random(1);
  const matrix = () => normals(random, COUNT * HIDDEN * WIDTH).map((value) => 0.6 * value);
  const experts: JoinedExperts = {
    ...{ hidden: HIDDEN, width: WIDTH, activation },
    matrices: { gate: gated ? matrix() : undefined, up: matrix(), down: matrix() },
    ...(biased && { gateBias: normals(random, COUNT * WIDTH), upBias: normals(random, COUNT * WIDTH) }),
    ...(biased && { downBias: normals(random, COUNT * HIDDEN) }),
  };
  const listed = Array.from({ length: COUNT }, (_, e) =>
    Array.from(Array(TOKENS).keys()).filter((t) => (t + e) % 3 > 0),
  );
  const offsets = Int32Array.of(0, ...listed.map((_, e) => listed.slice(0, e + 1).flat().length));
  const tokens = Int32Array.from(listed.flat());
  const batch: RoutedBatch = {
    ...{
      x: normals(random, 50 * HIDDEN),
      y: normals(random, 50 * HIDDEN),
      rows: random.permutation(50).slice(0, TOKENS),
    },
    ...{ offsets, tokens, factors: normals(random, tokens.length) },
    inputFactors: scaled ? normals(random, tokens.length) : undefined,
  };
  return { experts, batch };
}

const plain = (values: object): unknown =>
  Object.fromEntries(
    Object.entries(values)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => [key, ArrayBuffer.isView(value) ? Array.from(value as Float32Array) : value]),
  );

// Skipped, and counted as skipped, where the Python peers are not installed (test/peers/README.md).
describe.skipIf(!existsSync(python))("PyTorch", () => {
  test.each(BACKENDS)("has our gradients and our steps of Adam: %s", (_, backend) => {
    const [input, output] = [join(folder, "in.json"), join(folder, "out.json")];
    const cases = CASES.map((one) => {
      const { experts, batch } = made(one);
      return { ...(plain(experts) as object), matrices: plain(experts.matrices), batch: plain(batch), steps: STEPS };
    });
    writeFileSync(input, JSON.stringify(cases));
    execFileSync(python, [join(root, "test/peers/descent_check.py"), input, output]);
    const expected: readonly Record<string, readonly number[]>[] = JSON.parse(readFileSync(output, "utf8"));
    for (const [i, one] of CASES.entries()) {
      const { experts, batch } = made(one);
      const { matrices } = experts;
      const empty = (values: Float32Array) => new Float32Array(values.length);
      const out = { gate: matrices.gate && empty(matrices.gate), up: empty(matrices.up), down: empty(matrices.down) };
      const lost = backend.expertGradients(experts, batch, out);
      expect(Math.abs(lost / expected[i]!.lost![0]! - 1)).toBeLessThan(1e-5);
      for (const part of ["gate", "up", "down"] as const) {
        if (out[part] === undefined) continue;
        expectNear(out[part], expected[i]![part]!, 1e-5);
        const moments = { first: empty(out[part]), second: empty(out[part]) };
        const weights = matrices[part]!.slice();
        for (let step = 1; step <= STEPS; step++) {
          const gradients = out[part].map((value) => value * Math.cos(step));
          backend.adamStep(weights, gradients, moments, Float32Array.of(0.1, 0.1, 0.1), step);
        }
        expectNear(weights, expected[i]![`${part} after`]!, 1e-5);
      }
    }
  });
});

function expectNear(actual: Float32Array, expected: readonly number[], tolerance: number): void {
  const size = Math.max(...expected.map(Math.abs));
  expect(actual.length).toBe(expected.length);
  for (const [i, value] of expected.entries()) expect(Math.abs(actual[i]! - value) / size).toBeLessThan(tolerance);
}

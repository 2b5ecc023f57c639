import { describe, expect, test } from "vitest";
import { ConfigReader } from "../../src/model/config.js";
import { readRope, ropeTable } from "../../src/model/rope.js";
import { largestDifference } from "../support/goldens.js";

const read = (changes: object) =>
  readRope(new ConfigReader({ max_position_embeddings: 512, rope_theta: 10_000, ...changes }), 16, 10_000);

/** The table's row of a position, from frequencies and the factor on cos and sin. */
function expectRow(rope: ReturnType<typeof read>, length: number, frequencies: readonly number[], factor: number) {
  const { cos, sin } = ropeTable(rope, length);
  expect(cos).toHaveLength(length * frequencies.length);
  for (const position of [1, length - 1]) {
    const row = (values: Float32Array) =>
      values.subarray(position * frequencies.length).subarray(0, frequencies.length);
    const angles = frequencies.map((frequency) => position * frequency);
    expect(
      largestDifference(
        row(cos),
        angles.map(Math.cos).map((value) => value * factor),
      ),
    ).toBeLessThan(1e-4);
    expect(
      largestDifference(
        row(sin),
        angles.map(Math.sin).map((value) => value * factor),
      ),
    ).toBeLessThan(1e-4);
  }
}

const yarn = { rope_type: "yarn", factor: 4, original_max_position_embeddings: 128 };
const yarnFrequencies = [1, 0.2371708, 0.05, 0.007905695, 0.0025, 0.0007905695, 0.00025, 7.905695e-5];
const short_factor = [1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7];
const long_factor = [1.5, 3.5, 5.5, 7.5, 9.5, 11.5, 13.5, 15.5];
const longrope = { rope_type: "longrope", short_factor, long_factor };
const shortFrequencies = [1, 0.2874798, 0.08333334, 0.02432521, 0.007142857, 0.002108185, 0.000625, 0.0001860163];
const longFrequencies = [
  ...[0.6666667, 0.09035078, 0.01818182, 0.00421637, 0.001052632, 0.0002749807, 7.407407e-5, 2.040179e-5],
];

/** Frequencies and factors as ROPE_INIT_FUNCTIONS of transformers 5.23 computes them. */
const RECORDED: [string, object, number, number, number[]][] = [
  [
    "linear",
    { rope_scaling: { type: "linear", factor: 3 } },
    64,
    1,
    [0.3333333, 0.1054093, 0.03333334, 0.01054093, 0.003333333, 0.001054093, 0.0003333334, 0.0001054093],
  ],
  [
    "dynamic, within the context",
    { rope_scaling: { rope_type: "dynamic", factor: 2 } },
    64,
    1,
    [1, 0.3162278, 0.1, 0.03162278, 0.01, 0.003162278, 0.001, 0.0003162278],
  ],
  [
    "dynamic, beyond the context",
    { rope_scaling: { rope_type: "dynamic", factor: 2 } },
    700,
    1,
    [1, 0.2923053, 0.08544239, 0.02497527, 0.007300403, 0.002133947, 0.0006237639, 0.0001823295],
  ],
  ["yarn", { rope_scaling: yarn }, 64, 1.138629436111989, yarnFrequencies],
  [
    "yarn, the range not rounded",
    { rope_scaling: { ...yarn, truncate: false, beta_fast: 8 } },
    64,
    1.138629436111989,
    [1, 0.2915256, 0.0506644, 0.007905695, 0.0025, 0.0007905695, 0.00025, 7.905695e-5],
  ],
  [
    "yarn, 0 and null mean the defaults",
    { rope_scaling: { ...yarn, beta_fast: 0, beta_slow: 0, factor: null, attention_factor: null } },
    64,
    1.138629436111989,
    yarnFrequencies,
  ],
  ["yarn, attention factor", { rope_scaling: { ...yarn, attention_factor: 0.9 } }, 64, 0.9, yarnFrequencies],
  [
    "yarn, both mscales",
    { rope_scaling: { ...yarn, mscale: 0.8, mscale_all_dim: 0.9 } },
    64,
    0.9876748252160534,
    yarnFrequencies,
  ],
  [
    "yarn, one mscale counts for nothing",
    { rope_scaling: { ...yarn, mscale: 0, mscale_all_dim: 0.9 } },
    64,
    1.138629436111989,
    yarnFrequencies,
  ],
  [
    "llama3",
    {
      rope_scaling: {
        ...{ rope_type: "llama3", factor: 8, original_max_position_embeddings: 64 },
        ...{ low_freq_factor: 1, high_freq_factor: 4 },
      },
    },
    64,
    1,
    [1, 0.2443846, 0.01304226, 0.003952847, 0.00125, 0.0003952847, 0.000125, 3.952847e-5],
  ],
  [
    "longrope, within the original context",
    { original_max_position_embeddings: 128, rope_scaling: longrope },
    128,
    1.1338934190276817,
    shortFrequencies,
  ],
  [
    "longrope, beyond it",
    { original_max_position_embeddings: 128, rope_scaling: longrope },
    129,
    1.1338934190276817,
    longFrequencies,
  ],
  [
    "longrope, attention factor",
    { rope_scaling: { ...longrope, attention_factor: 1.3, original_max_position_embeddings: 128 } },
    129,
    1.3,
    longFrequencies,
  ],
];

test.each(RECORDED)("%s", (_, changes, length, factor, frequencies) => {
  expectRow(read(changes), length, frequencies, factor);
});

describe("longrope", () => {
  test("Phi-3.5-MoE has a factor on cos and sin for both lengths", () => {
    const scales = { original_max_position_embeddings: 128, short_mscale: 1.1, long_mscale: 1.24 };
    const rope = read({ original_max_position_embeddings: 128, rope_scaling: { ...longrope, ...scales } });
    expectRow(rope, 128, shortFrequencies, 1.1);
    expectRow(rope, 129, longFrequencies, 1.24);
  });

  test("the context beside the scaling counts more than the one inside", () => {
    const rope_scaling = { ...longrope, original_max_position_embeddings: 64 };
    expect(read({ original_max_position_embeddings: 128, rope_scaling }).scaling).toMatchObject({
      originalPositions: 128,
    });
  });

  test.each([
    ["too short", { short_factor: short_factor.slice(1) }],
    ["missing", { long_factor: undefined }],
    ["of text", { long_factor: ["1"] }],
    ["with a zero", { long_factor: [0, ...long_factor.slice(1)] }],
  ])("a list that is %s is a named error", (_, changes) => {
    expect(() => read({ rope_scaling: { ...longrope, ...changes } })).toThrow(
      expect.objectContaining({ code: "CONFIG_VALUE" }) as Error,
    );
  });
});

test("mrope is the plain embedding in text", () => {
  const mrope = { mrope_section: [2, 1, 1], mrope_interleaved: true };
  const parameters = { ...mrope, rope_theta: 10_000, partial_rotary_factor: 0.5 };
  const plain = { rotary: 8, pairing: "halves", theta: 10_000, scaling: { kind: "default" } };
  expect(read({ rope_parameters: { ...parameters, rope_type: "default" } })).toEqual(plain);
  expect(read({ rope_scaling: { ...mrope, type: "mrope" } })).toEqual({ ...plain, rotary: 16 });
  expect(read({ rope_scaling: mrope })).toEqual({ ...plain, rotary: 16 });
});

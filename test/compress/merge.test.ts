import fc from "fast-check";
import { expect, test } from "vitest";
import { decode, encode } from "../../src/checkpoint/dtypes.js";
import type { DType, Tensor } from "../../src/checkpoint/tensor.js";
import { pickTensorRows } from "../../src/checkpoint/tensor-rows.js";
import { DecodedExpert } from "../../src/compress/decoded-expert.js";
import { mergeGroup } from "../../src/compress/merge.js";
import { addNeuronProducts, neuronSquares } from "../../src/compress/neurons.js";
import type { ExpertTensors } from "../../src/engine/backend.js";
import { createReferenceBackend } from "../../src/engine/reference/reference-backend.js";
import { Random } from "../../src/random.js";

const backend = createReferenceBackend("f32");
const [width, hidden] = [4, 3];

function tensor(rows: number, columns: number, random: Random, dtype: DType = "F32"): Tensor {
  const values = Float32Array.from({ length: rows * columns }, () => random.normal());
  return { dtype, shape: [rows, columns], data: encode(dtype, values) };
}

function bias(length: number, random: Random, dtype: DType = "F32"): Tensor {
  return { ...tensor(1, length, random, dtype), shape: [length] };
}

function expert(seed: number, dtype: DType = "F32"): ExpertTensors {
  const random = new Random(seed);
  return {
    gate: tensor(width, hidden, random, dtype),
    up: tensor(width, hidden, random, dtype),
    down: tensor(hidden, width, random, dtype),
  };
}

function biasedExpert(seed: number): ExpertTensors {
  const random = new Random(seed);
  return {
    ...expert(seed),
    gateBias: bias(width, random),
    upBias: bias(width, random),
    downBias: bias(hidden, random),
  };
}

/** The expert with its neurons in another order: the same function. */
function permuted(source: ExpertTensors, order: readonly number[]): ExpertTensors {
  const columns = decode(source.down);
  const down = columns.map((_, i) => columns[Math.floor(i / width) * width + order[i % width]!]!);
  return {
    gate: pickTensorRows(source.gate!, order),
    up: pickTensorRows(source.up, order),
    down: { dtype: "F32", shape: source.down.shape, data: encode("F32", down) },
    ...(source.gateBias && { gateBias: pickTensorRows(source.gateBias, order) }),
    ...(source.upBias && { upBias: pickTensorRows(source.upBias, order) }),
    ...(source.downBias && { downBias: source.downBias }),
  };
}

test("merging an expert with aligned permuted copies of itself gives it back", async () => {
  const order = fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4 });
  await fc.assert(
    fc.asyncProperty(order, fc.integer(), async (shuffle, seed) => {
      const source = biasedExpert(seed);
      const inverse = [0, 1, 2, 3].map((neuron) => shuffle.indexOf(neuron));
      const group = { members: [0, 1], weights: [0.25, 0.75], permutations: { 1: inverse } };
      const merged = await mergeGroup(backend, group, (e) => (e === 0 ? source : permuted(source, shuffle)), {
        when: "once",
      });
      for (const part of ["gate", "up", "down", "gateBias", "upBias", "downBias"] as const) {
        expect(merged[part]!.shape).toEqual(source[part]!.shape);
        const [found, expected] = [decode(merged[part]!), decode(source[part]!)];
        for (let i = 0; i < found.length; i++) expect(found[i]).toBeCloseTo(expected[i]!, 5);
      }
    }),
    { numRuns: 50 },
  );
});

test("without permutations it is the weighted mean", async () => {
  const [a, b] = [expert(1), expert(2)];
  const group = { members: [3, 7], weights: [0.5, 0.5], permutations: {} };
  const merged = await mergeGroup(backend, group, (e) => (e === 3 ? a : b), { when: "once" });
  const mean = decode(a.up).map((value, i) => (value + decode(b.up)[i]!) / 2);
  expect(Array.from(decode(merged.up))).toEqual(Array.from(mean));
});

test("biases are merged with the weights of the matrices, and only those that are there", async () => {
  const [a, b] = [biasedExpert(7), biasedExpert(8)].map(({ gateBias, ...others }) => others) as [
    ExpertTensors,
    ExpertTensors,
  ];
  const group = { members: [0, 1], weights: [0.25, 0.75], permutations: { 1: [3, 2, 0, 1] } };
  const merged = await mergeGroup(backend, group, (e) => (e === 0 ? a : b), { when: "once", dtype: "F16" });
  expect("gateBias" in merged).toBe(false);
  const mean = (part: "upBias" | "downBias", order: readonly number[]) => {
    const [first, second] = [decode(a[part]!), decode(b[part]!)];
    const data = encode(
      "F16",
      first.map((value, i) => Math.fround(0.25 * value) + 0.75 * second[order[i]!]!),
    );
    return { dtype: "F16", shape: a[part]!.shape, data };
  };
  expect(merged.upBias).toEqual(mean("upBias", [3, 2, 0, 1]));
  expect(merged.downBias).toEqual(mean("downBias", [0, 1, 2]));
});

test("experts without gates are merged as those that have one, and their neurons have no gate rows", async () => {
  const [a, b] = [expert(1), expert(2)];
  const plain = ({ gate: _, ...others }: ExpertTensors): ExpertTensors => others;
  const group = { members: [0, 1], weights: [0.5, 0.5], permutations: { 1: [3, 2, 0, 1] } };
  const merged = await mergeGroup(backend, group, (e) => plain(e === 0 ? a : b), { when: "once" });
  const { gate: _, ...expected } = await mergeGroup(backend, group, (e) => (e === 0 ? a : b), { when: "once" });
  expect(merged).toEqual(expected);
  const decoded = (one: ExpertTensors) => new DecodedExpert().of(one);
  const squares = new Float64Array(width ** 2);
  addNeuronProducts(backend, squares, decoded(plain(a)), decoded(plain(a)));
  const lengths = neuronSquares(backend, decoded(plain(a)));
  const gate = decode(a.gate!);
  const withGate = neuronSquares(backend, decoded(a));
  for (let i = 0; i < width; i++) {
    expect(squares[i * (width + 1)]).toBeCloseTo(lengths[i]!, 5);
    const row = gate.subarray(i * hidden, (i + 1) * hidden);
    expect(withGate[i]! - lengths[i]!).toBeCloseTo(
      row.reduce((sum, value) => sum + value ** 2, 0),
      5,
    );
  }
});

test("a group that keeps its centroid gives the stored bytes back, also NaN", async () => {
  const source = expert(3, "BF16");
  source.gate!.data.set([0xff, 0x7f], 0);
  const group = { members: [0, 1], weights: [1, 0], permutations: {} };
  const merged = await mergeGroup(backend, group, () => source, { when: "once" });
  expect(Buffer.from(merged.gate!.data)).toEqual(Buffer.from(source.gate!.data));
});

test("rounding after each member differs from rounding once in bfloat16", async () => {
  const experts = [expert(4, "BF16"), expert(5, "BF16"), expert(6, "BF16")];
  const group = { members: [0, 1, 2], weights: [0.2, 0.3, 0.5], permutations: {} };
  const once = await mergeGroup(backend, group, (e) => experts[e]!, { when: "once" });
  const each = await mergeGroup(backend, group, (e) => experts[e]!, { when: "each-member" });
  expect(once.gate!.dtype).toBe("BF16");
  expect(Buffer.from(once.gate!.data).equals(Buffer.from(each.gate!.data))).toBe(false);
});

test("outputs of members come to the scale that the router has for their centroid", async () => {
  const [a, b] = [expert(21), expert(22)];
  const group = { members: [0, 1], weights: [0.25, 0.75], permutations: {} };
  const scales = Float32Array.of(2, 3);
  const read = (e: number) => (e === 0 ? a : b);
  const scaled = await mergeGroup(backend, group, read, { when: "once", dtype: "F32", scales });
  const plain = await mergeGroup(backend, group, read, { when: "once", dtype: "F32" });
  expect(scaled.up).toEqual(plain.up);
  const [first, second] = [decode(a.down), decode(b.down)];
  const wanted = first.map((value, i) => (0.25 * 2 * value + 0.75 * 3 * second[i]!) / 2);
  for (const [i, value] of decode(scaled.down).entries()) expect(value).toBeCloseTo(wanted[i]!, 6);
  // A centroid that the router leaves out has no scale to come to.
  const none = { when: "once", dtype: "F32", scales: Float32Array.of(0, 3) } as const;
  expect((await mergeGroup(backend, group, read, none)).down).toEqual(plain.down);
});

import type { Backend, Matrix, Routing } from "../../engine/backend.js";
import { cacheOf, cacheSize, KeyValueState } from "../layer-state.js";
import { ropeTable } from "../rope.js";
import { route } from "../router.js";
import { projectionTensors } from "../tensor-list.js";
import type { WeightLoader } from "../weight-loader.js";
import { turner } from "./attention.js";
import type { MixtureOfAttentionDescription } from "./descriptions.js";
import type { Mixer, MixerKind } from "./mixer.js";

/**
 * Mixture of attention heads (Zhang et al. 2022, as JetMoE has it): a token's chosen experts make one set of queries each,
 * which attend to common keys and values, and project the sets' outputs.
 */
export const mixtureOfAttention: MixerKind<MixtureOfAttentionDescription> = {
  tensors(description, hidden) {
    const { experts, router, query, output, key, value, bias } = description;
    const size = setSize(description);
    return [
      { name: router.weight, shape: [experts, hidden] },
      { name: query, shape: [experts, size, hidden] },
      { name: output, shape: [experts, hidden, size] },
      ...[key, value].flatMap(projectionTensors),
      { name: bias, shape: [hidden] },
    ];
  },
  load,
  makeState: ({ keyValueHeads, headSize }, backend) =>
    new KeyValueState(backend.keyValueCache(keyValueHeads, headSize)),
  stateSize: ({ keyValueHeads, headSize }, backend) => cacheSize(keyValueHeads, headSize, headSize, backend),
};

/** Numbers of a set of queries. */
function setSize({ keyValueHeads, headSize }: MixtureOfAttentionDescription): number {
  return keyValueHeads * headSize;
}

async function load(description: MixtureOfAttentionDescription, loader: WeightLoader): Promise<Mixer> {
  const { experts, router, keyValueHeads, headSize, rope } = description;
  const { backend } = loader;
  const { topK } = router;
  const size = setSize(description);
  const heads = topK * keyValueHeads;
  const stacked = async (name: string) => {
    const matrices: Matrix[] = [];
    for (let e = 0; e < experts; e++) {
      const { dtype, shape, data } = await loader.checkpoint.readRows(name, e, e + 1);
      matrices.push(loader.matrix({ dtype, shape: shape.slice(1), data }));
    }
    return matrices;
  };
  const weights = {
    weight: loader.matrix(await loader.weight(router.weight)),
    bias: undefined,
    selectionBias: undefined,
  };
  const query = await stacked(description.query);
  const output = await stacked(description.output);
  const key = await loader.projection(description.key);
  const value = await loader.projection(description.value);
  const bias = await loader.vector(description.bias);
  const shape = { heads, keyValueHeads, headSize, scale: headSize ** -0.5 };

  /** Queries ordered by the key head that they look at, then by expert: heads of a group follow each other. */
  const inputs = (x: Float32Array, rotate: (x: Float32Array, heads: number) => void) => {
    const { routing } = route(backend, x, weights, router);
    const rows = Int32Array.from(routing.selected, (_, pair) => Math.floor(pair / topK));
    const sets = routedLinear(backend, x, rows, query, routing);
    const queries = swapAxes(sets, topK, keyValueHeads, headSize);
    const keys = key(x);
    rotate(queries, heads);
    rotate(keys, keyValueHeads);
    return { routing, queries, keys, values: value(x) };
  };
  const result = (mixed: Float32Array, routing: Routing) => {
    const sets = swapAxes(mixed, keyValueHeads, topK, headSize);
    const rows = Int32Array.from(routing.selected.keys());
    const outputs = routedLinear(backend, sets, rows, output, routing);
    const hidden = bias.length;
    const out = new Float32Array(routing.tokens * hidden);
    for (let token = 0; token < routing.tokens; token++) {
      out.set(bias, token * hidden);
      for (let pair = token * topK; pair < (token + 1) * topK; pair++) {
        const weight = routing.weights[pair]!;
        for (let i = 0; i < hidden; i++) out[token * hidden + i]! += weight * outputs[pair * hidden + i]!;
      }
    }
    return out;
  };
  if (size === 0) throw new RangeError("mixture of attention: empty sets of queries");
  return {
    mix(x, batch) {
      const { routing, queries, keys, values } = inputs(x, turner(backend, headSize, ropeTable(rope, batch.length)));
      return result(backend.attention(queries, keys, values, { ...batch, ...shape }), routing);
    },
    mixNext(x, { segments, positions, tableLength }, state) {
      const rotate = turner(backend, headSize, ropeTable(rope, tableLength), positions);
      const { routing, queries, keys, values } = inputs(x, rotate);
      return result(backend.attendCached(queries, keys, values, cacheOf(state), segments, shape), routing);
    },
  };
}

/** Row rows[pair] of x times the transposed matrix of the pair's expert, for every pair: `[pairs, out]`. */
function routedLinear(
  backend: Backend,
  x: Float32Array,
  rows: Int32Array,
  matrices: readonly Matrix[],
  { selected }: Routing,
): Float32Array {
  const { rows: outSize, columns: inSize } = matrices[0]!;
  const out = new Float32Array(selected.length * outSize);
  for (const [expert, matrix] of matrices.entries()) {
    const pairs = [...selected.keys()].filter((pair) => selected[pair] === expert);
    const input = new Float32Array(pairs.length * inSize);
    for (const [i, pair] of pairs.entries()) {
      input.set(x.subarray(rows[pair]! * inSize, (rows[pair]! + 1) * inSize), i * inSize);
    }
    const result = backend.linear(input, matrix);
    for (const [i, pair] of pairs.entries()) {
      out.set(result.subarray(i * outSize, (i + 1) * outSize), pair * outSize);
    }
  }
  return out;
}

/** `[tokens, a, b, size]` -> `[tokens, b, a, size]`. */
function swapAxes(x: Float32Array, a: number, b: number, size: number): Float32Array {
  const out = new Float32Array(x.length);
  for (let start = 0; start < x.length; start += a * b * size) {
    for (let i = 0; i < a; i++) {
      for (let j = 0; j < b; j++) {
        const from = start + (i * b + j) * size;
        out.set(x.subarray(from, from + size), start + (j * a + i) * size);
      }
    }
  }
  return out;
}

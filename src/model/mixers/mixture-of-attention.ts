import type { Backend, Matrix, Routing } from "../../engine/backend.js";
import { cacheOf, cacheSize, KeyValueState } from "../layer-state.js";
import { readMoe } from "../moe.js";
import { ropeTable } from "../rope.js";
import { type RouterOutput, route } from "../router.js";
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
    const { experts, router, key, value, bias } = description;
    return [
      { name: router.weight, shape: [experts.count, hidden] },
      ...experts.outputs(experts.count).map(({ name, shape }) => ({ name, shape })),
      ...[key, value].flatMap(projectionTensors),
      { name: bias, shape: [hidden] },
    ];
  },
  load,
  makeState: ({ keyValueHeads, headSize }, backend) =>
    new KeyValueState(backend.keyValueCache(keyValueHeads, headSize)),
  stateSize: ({ keyValueHeads, headSize }, backend) => cacheSize(keyValueHeads, headSize, headSize, backend),
};

async function load(description: MixtureOfAttentionDescription, loader: WeightLoader): Promise<Mixer> {
  const { router, keyValueHeads, headSize, rope } = description;
  const { backend, checkpoint, changes } = loader;
  const { topK } = router;
  const heads = topK * keyValueHeads;
  const tensors = changes.attention ?? (await readMoe(checkpoint, description));
  const query: Matrix[] = [];
  const output: Matrix[] = [];
  for (let e = 0; e < tensors.experts.count; e++) {
    const { up, down } = await tensors.experts.read(e);
    query.push(loader.matrix(up));
    output.push(loader.matrix(down));
  }
  const weights = { weight: loader.matrix(tensors.router), bias: undefined, selectionBias: undefined };
  const key = await loader.projection(description.key);
  const value = await loader.projection(description.value);
  const bias = await loader.vector(description.bias);
  const shape = { heads, keyValueHeads, headSize, scale: headSize ** -0.5 };

  /** Queries ordered by the key head that they look at, then by expert: heads of a group follow each other. */
  const inputs = (x: Float32Array, rotate: (x: Float32Array, heads: number) => void) => {
    const routed = route(backend, x, weights, router);
    const { routing } = routed;
    const rows = Int32Array.from(routing.selected, (_, pair) => Math.floor(pair / topK));
    const sets = routedLinear(backend, x, rows, query, routing);
    const queries = swapAxes(sets, topK, keyValueHeads, headSize);
    const keys = key(x);
    rotate(queries, heads);
    rotate(keys, keyValueHeads);
    return { routed, queries, keys, values: value(x) };
  };
  const result = (x: Float32Array, mixed: Float32Array, routed: RouterOutput) => {
    const { routing } = routed;
    const sets = swapAxes(mixed, keyValueHeads, topK, headSize);
    const rows = Int32Array.from(routing.selected.keys());
    const outputs = routedLinear(backend, sets, rows, output, routing);
    const hidden = bias.length;
    changes.attentionTap?.(x, { router: routed, norms: rowNorms(outputs, hidden) });
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
  return {
    mix(x, batch) {
      const { routed, queries, keys, values } = inputs(x, turner(backend, headSize, ropeTable(rope, batch.length)));
      return result(x, backend.attention(queries, keys, values, { ...batch, ...shape }), routed);
    },
    mixNext(x, { segments, positions, tableLength }, state) {
      const rotate = turner(backend, headSize, ropeTable(rope, tableLength), positions);
      const { routed, queries, keys, values } = inputs(x, rotate);
      return result(x, backend.attendCached(queries, keys, values, cacheOf(state), segments, shape), routed);
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

/** Norm of each row of `size` values. */
function rowNorms(x: Float32Array, size: number): Float32Array {
  return Float32Array.from({ length: x.length / size }, (_, row) => {
    let sum = 0;
    for (let i = row * size; i < (row + 1) * size; i++) sum += x[i]! ** 2;
    return Math.sqrt(sum);
  });
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

import { decode } from "../../checkpoint/dtypes.js";
import type { Tensor } from "../../checkpoint/tensor.js";
import { pickRanges } from "../../checkpoint/tensor-rows.js";
import type { Matrix } from "../../engine/backend.js";
import type { Projection } from "../description.js";
import { cacheOf, cacheSize, KeyValueState } from "../layer-state.js";
import { ropeTable } from "../rope.js";
import { sigmoid } from "../sigmoid.js";
import { normTensors, projectionTensors } from "../tensor-list.js";
import type { WeightLoader } from "../weight-loader.js";
import { multiplied, scaleQueries, turner } from "./attention.js";
import type { LatentAttentionDescription } from "./descriptions.js";
import type { Mixer, MixerKind } from "./mixer.js";

/**
 * Multi-head latent attention (DeepSeek-AI 2024, arXiv 2405.04434). Keys and values are linear in the latent vector, so
 * that their matrices move to the query and to the output: all heads attend to one key [latent, rotary key] with the
 * latent as its value, and only these are kept of a token.
 */
export const latentAttention: MixerKind<LatentAttentionDescription> = {
  tensors({ query, latent, latentNorm, keyValue, output, gate }) {
    const queries = "weight" in query ? projectionTensors(query) : queryTensors(query);
    const projections = [latent, keyValue, output, ...(gate === undefined ? [] : [gate])];
    return [...queries, ...projections.flatMap(projectionTensors), ...normTensors(latentNorm)];
  },
  load,
  makeState: ({ rank, rotarySize }, backend) => new KeyValueState(backend.keyValueCache(1, rank + rotarySize, rank)),
  stateSize: ({ rank, rotarySize }, backend) => cacheSize(1, rank + rotarySize, rank, backend),
};

function queryTensors({ down, norm, up }: Exclude<LatentAttentionDescription["query"], Projection>) {
  return [...projectionTensors(down), ...normTensors(norm), ...projectionTensors(up)];
}

async function load(description: LatentAttentionDescription, loader: WeightLoader): Promise<Mixer> {
  const { heads, plainSize, rotarySize, rank, rope, scale, temperature } = description;
  const { backend } = loader;
  const query = await loadQuery(description, loader);
  const latentRow = await loader.projection({ ...description.latent, rows: [[0, rank]] });
  const rotaryKey = await loader.projection({ ...description.latent, rows: [[rank, rank + rotarySize]] });
  const latentNorm = await loader.norm(description.latentNorm);
  const { keys, values } = await loadHeads(description, loader);
  const output = await loader.projection(description.output);
  const gate = description.gate && (await loader.projection(description.gate));
  const shape = { heads, keyValueHeads: 1, headSize: rank + rotarySize, valueSize: rank, scale };

  const inputs = (
    x: Float32Array,
    rotate: (x: Float32Array, heads: number) => void,
    position: (token: number) => number,
  ) => {
    const { plain, rotary } = query(x);
    const key = rotaryKey(x);
    rotate(rotary, heads);
    rotate(key, 1);
    const latent = latentNorm(latentRow(x));
    const absorbed = backend.headLinear(plain, keys);
    const joined = joinRows(absorbed, rank, rotary, rotarySize);
    if (temperature !== undefined) scaleQueries(joined, heads * (rank + rotarySize), position, temperature);
    return {
      query: joined,
      key: joinRows(latent, rank, key, rotarySize),
      value: latent,
    };
  };
  const result = (x: Float32Array, mixed: Float32Array) => {
    const found = backend.headLinear(mixed, values);
    return output(gate === undefined ? found : multiplied(found, gate(x).map(sigmoid)));
  };
  if (plainSize === 0) throw new RangeError("latent attention: heads without plain dimensions");
  return {
    mix(x, batch) {
      const table = rope && ropeTable(rope, batch.length);
      const { query, key, value } = inputs(x, turner(backend, rotarySize, table), (token) => token % batch.length);
      return result(x, backend.attention(query, key, value, { ...batch, ...shape }));
    },
    mixNext(x, { segments, positions, tableLength }, state) {
      const table = rope && ropeTable(rope, tableLength);
      const rotate = turner(backend, rotarySize, table, positions);
      const { query, key, value } = inputs(x, rotate, (token) => positions[token]!);
      return result(x, backend.attendCached(query, key, value, cacheOf(state), segments, shape));
    },
  };
}

/** Hidden states to the plain and the rotary part of all query heads, `[tokens, heads, size]` each. */
async function loadQuery({ query, heads, plainSize, rotarySize }: LatentAttentionDescription, loader: WeightLoader) {
  const last = "weight" in query ? query : query.up;
  const part = (begin: number, end: number) =>
    loader.projection({ ...last, rows: headRows(heads, plainSize + rotarySize, begin, end) });
  const plain = await part(0, plainSize);
  const rotary = await part(plainSize, plainSize + rotarySize);
  if ("weight" in query) return (x: Float32Array) => ({ plain: plain(x), rotary: rotary(x) });
  const down = await loader.projection(query.down);
  const norm = await loader.norm(query.norm);
  return (x: Float32Array) => {
    const small = norm(down(x));
    return { plain: plain(small), rotary: rotary(small) };
  };
}

/** For each head, what turns plain queries into latent ones `[rank, plainSize]`, and latent outputs into values `[valueSize, rank]`. */
async function loadHeads({ keyValue, heads, plainSize, valueSize }: LatentAttentionDescription, loader: WeightLoader) {
  const stored = await loader.weight(keyValue.weight);
  const keys: Matrix[] = [];
  const values: Matrix[] = [];
  for (let head = 0; head < heads; head++) {
    const begin = head * (plainSize + valueSize);
    keys.push(loader.matrix(transposed(pickRanges(stored, [[begin, begin + plainSize]]))));
    values.push(loader.matrix(pickRanges(stored, [[begin + plainSize, begin + plainSize + valueSize]])));
  }
  return { keys, values };
}

function headRows(heads: number, size: number, begin: number, end: number): [number, number][] {
  return Array.from({ length: heads }, (_, head) => [head * size + begin, head * size + end]);
}

function transposed(tensor: Tensor): Tensor {
  const [rows, columns] = tensor.shape as [number, number];
  const values = decode(tensor);
  const out = new Float32Array(values.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = values[i * columns + j]!;
  return { dtype: "F32", shape: [columns, rows], data: new Uint8Array(out.buffer) };
}

/** Rows of a and b side by side. */
function joinRows(a: Float32Array, aSize: number, b: Float32Array, bSize: number): Float32Array {
  const rows = a.length / aSize;
  const out = new Float32Array(rows * (aSize + bSize));
  for (let row = 0; row < rows; row++) {
    const at = row * (aSize + bSize);
    out.set(a.subarray(row * aSize, (row + 1) * aSize), at);
    out.set(b.subarray(row * bSize, (row + 1) * bSize), at + aSize);
  }
  return out;
}

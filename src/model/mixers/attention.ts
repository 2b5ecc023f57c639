import type { Backend, RotaryTable } from "../../engine/backend.js";
import { cacheOf, cacheSize, KeyValueState } from "../layer-state.js";
import { ropeTable } from "../rope.js";
import { sigmoid } from "../sigmoid.js";
import { normTensors, projectionTensors } from "../tensor-list.js";
import type { WeightLoader } from "../weight-loader.js";
import type { AttentionDescription, QueryTemperature } from "./descriptions.js";
import type { Mixer, MixerKind } from "./mixer.js";
import { softplus } from "./softplus.js";

/** Softmax attention with grouped keys and values. */
export const attention: MixerKind<AttentionDescription> = {
  tensors({ query, key, value, output, gate, queryNorm, keyNorm, valueNorm, sinks, heads }) {
    return [
      ...[query, key, value, output, ...(gate === undefined ? [] : [gate])].flatMap(projectionTensors),
      ...[queryNorm, keyNorm, valueNorm].flatMap(normTensors),
      ...(sinks === undefined ? [] : [{ name: sinks, shape: [heads] }]),
    ];
  },
  load,
  makeState: ({ keyValueHeads, headSize, valueSize }, backend) =>
    new KeyValueState(backend.keyValueCache(keyValueHeads, headSize, valueSize)),
  stateSize: ({ keyValueHeads, headSize, valueSize = headSize }, backend) =>
    cacheSize(keyValueHeads, headSize, valueSize, backend),
};

async function load(description: AttentionDescription, loader: WeightLoader): Promise<Mixer> {
  const { heads, keyValueHeads, headSize, rope, normsRotated = false, clip, temperature, valueScale = 1 } = description;
  const { backend } = loader;
  const project = {
    query: await loader.projection(description.query),
    key: await loader.projection(description.key),
    value: await loader.projection(description.value),
    gate: description.gate && (await loader.projection(description.gate)),
    output: await loader.projection(description.output),
  };
  const queryNorm = await loader.optionalNorm(description.queryNorm);
  const keyNorm = await loader.optionalNorm(description.keyNorm);
  const valueNorm = await loader.optionalNorm(description.valueNorm);
  const sinks = description.sinks === undefined ? undefined : await loader.vector(description.sinks);
  const shape = { ...description, sinks };

  /** Queries, keys and values. `rotate` turns the heads of x to their positions. */
  const inputs = (
    x: Float32Array,
    rotate: (x: Float32Array, heads: number) => void,
    position: (token: number) => number,
  ) => {
    const turned = (values: Float32Array, count: number) => {
      if (rope !== undefined) rotate(values, count);
      return values;
    };
    const cut = (values: Float32Array) => (clip === undefined ? values : clipped(values, clip));
    let query = project.query(x);
    let key = project.key(x);
    if (!normsRotated) [query, key] = [queryNorm(query), keyNorm(key)];
    [query, key] = [turned(cut(query), heads), turned(cut(key), keyValueHeads)];
    if (normsRotated) [query, key] = [queryNorm(query), keyNorm(key)];
    if (temperature !== undefined) scaleQueries(query, heads * headSize, position, temperature);
    return { query, key, value: scaled(cut(valueNorm(project.value(x))), valueScale) };
  };
  const gated = (x: Float32Array, mixed: Float32Array) => {
    if (project.gate === undefined) return mixed;
    const gate = project.gate(x);
    if (description.gateActivation === undefined && gate.length === mixed.length)
      return backend.gated(gate, mixed, "sigmoid");
    const activate = description.gateActivation === "softplus" ? softplus : sigmoid;
    return multiplied(mixed, gate.map(activate));
  };
  const output = (x: Float32Array, mixed: Float32Array) => project.output(gated(x, mixed));

  return {
    mix(x, batch) {
      const table = rope && ropeTable(rope, batch.length);
      const { query, key, value } = inputs(x, turner(backend, headSize, table), (token) => token % batch.length);
      return output(x, backend.attention(query, key, value, { ...batch, ...shape }));
    },
    mixNext(x, { segments, positions, tableLength }, state) {
      const table = rope && ropeTable(rope, tableLength);
      const { query, key, value } = inputs(
        x,
        turner(backend, headSize, table, positions),
        (token) => positions[token]!,
      );
      return output(x, backend.attendCached(query, key, value, cacheOf(state), segments, shape));
    },
  };
}

/** Rotates heads: at the positions that are given, else at the index of each token in its sequence. */
export function turner(backend: Backend, headSize: number, table: RotaryTable | undefined, positions?: Int32Array) {
  return (x: Float32Array, heads: number) => {
    if (table === undefined) return;
    if (positions === undefined) backend.rotate(x, heads, headSize, table);
    else backend.rotateAt(x, heads, headSize, table, positions);
  };
}

function clipped(values: Float32Array, limit: number): Float32Array {
  return values.map((value) => Math.min(limit, Math.max(-limit, value)));
}

/** Numbers times factors, each of which is of one or several numbers that follow each other; in place. */
export function multiplied(values: Float32Array, factors: Float32Array): Float32Array {
  const each = values.length / factors.length;
  for (let i = 0; i < values.length; i++) values[i]! *= factors[Math.floor(i / each)]!;
  return values;
}

/** Multiplies values in place. */
function scaled(values: Float32Array, factor: number): Float32Array {
  if (factor !== 1) for (let i = 0; i < values.length; i++) values[i]! *= factor;
  return values;
}

/** Queries of far positions get larger, in steps. `row`: numbers of a token. */
export function scaleQueries(
  query: Float32Array,
  row: number,
  position: (token: number) => number,
  { floorScale, scale, first }: QueryTemperature,
): void {
  for (let token = 0; token * row < query.length; token++) {
    const factor = Math.log(1 + Math.floor((position(token) + first) / floorScale)) * scale + 1;
    for (let i = token * row; i < (token + 1) * row; i++) query[i]! *= factor;
  }
}

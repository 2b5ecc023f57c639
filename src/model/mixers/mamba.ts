import { projectionTensors } from "../tensor-list.js";
import type { WeightLoader } from "../weight-loader.js";
import type { MambaDescription } from "./descriptions.js";
import type { Mixer, MixerKind } from "./mixer.js";
import { RecurrentState, recurrentBytes, recurrentMixer, segmentsFor } from "./recurrent-state.js";
import { softplus } from "./softplus.js";

/**
 * Mamba-2 (Dao & Gu 2024, arXiv 2405.21060): a state of each head that decays by how long a time step the token takes,
 * S = e^(-rate dt) S + dt B xᵀ, y = Sᵀ C + D x; groups of heads share B and C. This is linear attention with queries C, keys
 * B and values dt x.
 */
export const mamba: MixerKind<MambaDescription> = {
  tensors(description) {
    const { input, output, convolution, convolutionBias, kernel, heads, logRate, timeBias, skip, norm } = description;
    const channels = channelsOf(description);
    return [
      ...[input, output].flatMap(projectionTensors),
      { name: convolution, shape: [channels, 1, kernel] },
      ...(convolutionBias === undefined ? [] : [{ name: convolutionBias, shape: [channels] }]),
      ...[logRate, timeBias, skip].map((name) => ({ name, shape: [heads] })),
      { name: norm, shape: [heads * description.headSize] },
    ];
  },
  load,
  makeState: (description) => new RecurrentState(stateSizes(description)),
  stateSize: (description) => ({ bytesPerToken: 0, bytesPerSequence: recurrentBytes(stateSizes(description)) }),
};

/** Numbers of [x, B, C] of a token, which pass the convolution. */
function channelsOf({ heads, headSize, groups, stateSize }: MambaDescription): number {
  return heads * headSize + 2 * groups * stateSize;
}

/** Numbers of the convolution's last inputs, and of the states of all heads. */
function stateSizes(description: MambaDescription): number[] {
  const { kernel, heads, headSize, stateSize } = description;
  return [(kernel - 1) * channelsOf(description), heads * headSize * stateSize];
}

async function load(description: MambaDescription, loader: WeightLoader): Promise<Mixer> {
  const { kernel, heads, headSize, groups, stateSize, input, epsilon } = description;
  const { backend } = loader;
  const size = heads * headSize;
  const channels = channelsOf(description);
  const part = (begin: number, end: number) => loader.projection({ ...input, rows: [[begin, end]] });
  const gate = await part(0, size);
  const values = await part(size, size + channels);
  const time = await part(size + channels, size + channels + heads);
  const convolution = await loader.vector(description.convolution);
  const { convolutionBias } = description;
  const bias = convolutionBias === undefined ? undefined : await loader.vector(convolutionBias);
  const rates = (await loader.vector(description.logRate)).map((value) => -Math.exp(value));
  const timeBias = await loader.vector(description.timeBias);
  const skip = await loader.vector(description.skip);
  const factors = await loader.vector(description.norm);
  const ones = new Float32Array(size / groups).fill(1);
  const output = await loader.projection(description.output);
  const [shortest, longest] = description.timeLimit;
  const shape = { heads, keyHeads: groups, keySize: stateSize, valueSize: headSize };

  return recurrentMixer((x, parts) => {
    const convolved = backend.convolution(values(x), convolution, bias, kernel, "silu", segmentsFor(0, parts));
    const steps = time(x).map((value, i) =>
      Math.min(longest, Math.max(shortest, softplus(value + timeBias[i % heads]!))),
    );
    const logDecay = steps.map((step, i) => rates[i % heads]! * step);
    const qkv = queriesKeysValues(convolved, steps, description);
    const mixed = backend.linearAttention(qkv, logDecay, shape, segmentsFor(1, parts));
    for (let i = 0; i < mixed.length; i++) {
      const [token, channel] = [Math.floor(i / size), i % size];
      mixed[i]! += skip[Math.floor(channel / headSize)]! * convolved[token * channels + channel]!;
    }
    const normed = backend.rmsNorm(backend.gated(gate(x), mixed, "silu"), ones, epsilon);
    for (let i = 0; i < normed.length; i++) normed[i]! *= factors[i % size]!;
    return output(normed);
  });
}

/** Rows [C, B, dt x] of rows [x, B, C]. */
function queriesKeysValues(
  convolved: Float32Array,
  steps: Float32Array,
  { heads, headSize, groups, stateSize }: MambaDescription,
): Float32Array {
  const [size, keys] = [heads * headSize, groups * stateSize];
  const row = size + 2 * keys;
  const out = new Float32Array(convolved.length);
  for (let start = 0, token = 0; start < convolved.length; start += row, token++) {
    out.set(convolved.subarray(start + size + keys, start + row), start);
    out.set(convolved.subarray(start + size, start + size + keys), start + keys);
    for (let i = 0; i < size; i++)
      out[start + 2 * keys + i] = steps[token * heads + Math.floor(i / headSize)]! * convolved[start + i]!;
  }
  return out;
}

import type { Projection } from "../description.js";
import { sigmoid } from "../sigmoid.js";
import { normTensors, projectionTensors } from "../tensor-list.js";
import type { Operation, WeightLoader } from "../weight-loader.js";
import type { ChannelDeltaRuleDescription } from "./descriptions.js";
import type { Mixer, MixerKind } from "./mixer.js";
import { RecurrentState, recurrentBytes, recurrentMixer, segmentsFor } from "./recurrent-state.js";
import { softplus } from "./softplus.js";

/** Kimi Delta Attention (Kimi Team 2025, arXiv 2510.26692): the gated delta rule with a gate of each channel of the key. */
export const channelDeltaRule: MixerKind<ChannelDeltaRuleDescription> = {
  tensors(description) {
    const { query, key, value, decay, gate, beta, output, convolutions, kernel, logRate, decayBias, norm } =
      description;
    const { heads, headSize, logRateShape } = description;
    return [
      ...[query, key, value, ...decay, ...gate, beta, output].flatMap(projectionTensors),
      ...convolutions.map((name) => ({ name, shape: [heads * headSize, 1, kernel] })),
      { name: logRate, shape: logRateShape },
      { name: decayBias, shape: [heads * headSize] },
      ...normTensors(norm),
    ];
  },
  load,
  makeState: (description) => new RecurrentState(stateSizes(description)),
  stateSize: (description) => ({ bytesPerToken: 0, bytesPerSequence: recurrentBytes(stateSizes(description)) }),
};

/** Numbers of the last inputs of the convolutions, and of the matrices of all heads. */
function stateSizes({ kernel, heads, headSize }: ChannelDeltaRuleDescription): number[] {
  return [...Array<number>(3).fill((kernel - 1) * heads * headSize), heads * headSize * headSize];
}

async function load(description: ChannelDeltaRuleDescription, loader: WeightLoader): Promise<Mixer> {
  const { heads, headSize, kernel, convolutions, lowestLogDecay } = description;
  const { backend } = loader;
  const projections: Operation[] = [];
  for (const part of [description.query, description.key, description.value])
    projections.push(await loader.projection(part));
  const weights: Float32Array[] = [];
  for (const name of convolutions) weights.push(await loader.vector(name));
  const decay = await loadChain(description.decay, loader);
  const gate = await loadChain(description.gate, loader);
  const beta = await loader.projection(description.beta);
  const rates = (await loader.vector(description.logRate)).map(Math.exp);
  const decayBias = await loader.vector(description.decayBias);
  const norm = await loader.norm(description.norm);
  const output = await loader.projection(description.output);
  const size = heads * headSize;
  const shape = { keyHeads: heads, valueHeads: heads, keySize: headSize, valueSize: headSize };

  return recurrentMixer((x, parts) => {
    const [query, key, value] = projections.map((project, i) =>
      backend.convolution(project(x), weights[i]!, undefined, kernel, "silu", segmentsFor(i, parts)),
    );
    const qkv = joinRows([query!, key!, value!], size);
    const logDecay = decay(x).map((g, i) => {
      const channel = i % size;
      const [rate, strength] = [rates[Math.floor(channel / headSize)]!, g + decayBias[channel]!];
      return lowestLogDecay === undefined ? -rate * softplus(strength) : lowestLogDecay * sigmoid(rate * strength);
    });
    const strength = beta(x).map(sigmoid);
    const mixed = backend.deltaRule(qkv, logDecay, strength, shape, segmentsFor(3, parts));
    return output(backend.gated(gate(x), norm(mixed), "sigmoid"));
  });
}

/** Projections one after the other. */
async function loadChain(projections: readonly Projection[], loader: WeightLoader): Promise<Operation> {
  const loaded: Operation[] = [];
  for (const projection of projections) loaded.push(await loader.projection(projection));
  return (x) => loaded.reduce((value, project) => project(value), x);
}

/** Rows of `size` numbers of each array side by side. */
function joinRows(arrays: readonly Float32Array[], size: number): Float32Array {
  const rows = arrays[0]!.length / size;
  const out = new Float32Array(arrays.length * rows * size);
  for (const [part, array] of arrays.entries()) {
    for (let row = 0; row < rows; row++)
      out.set(array.subarray(row * size, (row + 1) * size), (row * arrays.length + part) * size);
  }
  return out;
}

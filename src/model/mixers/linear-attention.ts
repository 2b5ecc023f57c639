import { normTensors, projectionTensors } from "../tensor-list.js";
import type { WeightLoader } from "../weight-loader.js";
import type { LinearAttentionDescription } from "./descriptions.js";
import type { Mixer, MixerKind } from "./mixer.js";
import { RecurrentState, recurrentBytes, recurrentMixer, segmentsFor } from "./recurrent-state.js";

/** Lightning attention (MiniMax-01, arXiv 2501.08313): no softmax and no positions, a fixed decay for each head. */
export const linearAttention: MixerKind<LinearAttentionDescription> = {
  tensors: ({ queryKeyValue, gate, norm, output }) => [
    ...[queryKeyValue, gate, output].flatMap(projectionTensors),
    ...normTensors(norm),
  ],
  load,
  makeState: (description) => new RecurrentState(stateSizes(description)),
  stateSize: (description) => ({ bytesPerToken: 0, bytesPerSequence: recurrentBytes(stateSizes(description)) }),
};

function stateSizes({ heads, headSize }: LinearAttentionDescription): number[] {
  return [heads * headSize * headSize];
}

async function load(description: LinearAttentionDescription, loader: WeightLoader): Promise<Mixer> {
  const { heads, headSize, activation } = description;
  const { backend } = loader;
  const queryKeyValue = await loader.projection(description.queryKeyValue);
  const gate = await loader.projection(description.gate);
  const norm = await loader.norm(description.norm);
  const output = await loader.projection(description.output);
  const logDecay = Float32Array.from(description.logDecay);
  const shape = { heads, keySize: headSize, valueSize: headSize };

  return recurrentMixer((x, parts) => {
    const inputs = queryKeyValue(x);
    const activated = backend.gated(inputs, new Float32Array(inputs.length).fill(1), activation);
    const mixed = backend.linearAttention(activated, logDecay, shape, segmentsFor(0, parts));
    return output(backend.gated(gate(x), norm(mixed), "sigmoid"));
  });
}

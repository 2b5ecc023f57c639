import { sigmoid } from "../sigmoid.js";
import { normTensors, projectionTensors } from "../tensor-list.js";
import type { WeightLoader } from "../weight-loader.js";
import type { DeltaRuleDescription } from "./descriptions.js";
import type { Mixer, MixerKind } from "./mixer.js";
import { RecurrentState, recurrentBytes, recurrentMixer, segmentsFor } from "./recurrent-state.js";
import { softplus } from "./softplus.js";

/** Gated delta rule (Yang et al. 2024, arXiv 2412.06464) as Qwen3-Next has it. */
export const deltaRule: MixerKind<DeltaRuleDescription> = {
  tensors(description) {
    const { queryKeyValue, gate, beta, decay, output, convolution, kernel, logRate, decayBias, valueHeads } =
      description;
    return [
      ...[queryKeyValue, gate, beta, decay, output].flatMap(projectionTensors),
      ...normTensors(description.norm),
      { name: convolution, shape: [channelsOf(description), 1, kernel] },
      { name: logRate, shape: [valueHeads] },
      { name: decayBias, shape: [valueHeads] },
    ];
  },
  load,
  makeState: (description) => new RecurrentState(stateSizes(description)),
  stateSize: (description) => ({ bytesPerToken: 0, bytesPerSequence: recurrentBytes(stateSizes(description)) }),
};

function channelsOf({ keyHeads, keySize, valueHeads, valueSize }: DeltaRuleDescription): number {
  return 2 * keyHeads * keySize + valueHeads * valueSize;
}

/** Numbers of the convolution's last inputs, and of the matrices of all heads. */
function stateSizes(description: DeltaRuleDescription): number[] {
  const { kernel, valueHeads, keySize, valueSize } = description;
  return [(kernel - 1) * channelsOf(description), valueHeads * keySize * valueSize];
}

async function load(description: DeltaRuleDescription, loader: WeightLoader): Promise<Mixer> {
  const { kernel } = description;
  const { backend } = loader;
  const queryKeyValue = await loader.projection(description.queryKeyValue);
  const gate = await loader.projection(description.gate);
  const beta = await loader.projection(description.beta);
  const decay = await loader.projection(description.decay);
  const output = await loader.projection(description.output);
  const convolution = await loader.vector(description.convolution);
  const rates = (await loader.vector(description.logRate)).map((value) => -Math.exp(value));
  const decayBias = await loader.vector(description.decayBias);
  const norm = await loader.norm(description.norm);

  return recurrentMixer((x, parts) => {
    const convolved = backend.convolution(
      queryKeyValue(x),
      convolution,
      undefined,
      kernel,
      "silu",
      segmentsFor(0, parts),
    );
    const logDecay = decay(x).map((value, i) => {
      const head = i % rates.length;
      return rates[head]! * softplus(value + decayBias[head]!);
    });
    const strength = beta(x).map(sigmoid);
    const mixed = backend.deltaRule(convolved, logDecay, strength, description, segmentsFor(1, parts));
    return output(backend.gated(gate(x), norm(mixed), "silu"));
  });
}

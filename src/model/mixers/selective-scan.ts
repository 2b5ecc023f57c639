import { normTensors, projectionTensors } from "../tensor-list.js";
import type { Operation, WeightLoader } from "../weight-loader.js";
import type { SelectiveScanDescription } from "./descriptions.js";
import type { Mixer, MixerKind } from "./mixer.js";
import {
  RecurrentState,
  type RecurrentTokens,
  recurrentBytes,
  recurrentMixer,
  segmentsFor,
} from "./recurrent-state.js";
import { softplus } from "./softplus.js";

/**
 * Mamba (Gu & Dao 2023, arXiv 2312.00752) as Jamba has it, with norms on time steps, B and C: each channel has a state of
 * its own, S = e^(A dt) S + dt B x, y = S C + D x, and every number of it decays at its own rate A.
 */
export const selectiveScan: MixerKind<SelectiveScanDescription> = {
  tensors(description) {
    const { input, selection, time, output, convolution, convolutionBias, kernel } = description;
    const { channels, stateSize, logRate, skip, timeNorm, inputNorm, outputNorm } = description;
    return [
      ...[input, selection, time, output].flatMap(projectionTensors),
      ...[timeNorm, inputNorm, outputNorm].flatMap(normTensors),
      { name: convolution, shape: [channels, 1, kernel] },
      ...(convolutionBias === undefined ? [] : [{ name: convolutionBias, shape: [channels] }]),
      { name: logRate, shape: [channels, stateSize] },
      { name: skip, shape: [channels] },
    ];
  },
  load,
  makeState: (description) => new RecurrentState(stateSizes(description)),
  stateSize: (description) => ({ bytesPerToken: 0, bytesPerSequence: recurrentBytes(stateSizes(description)) }),
};

/** Numbers of the convolution's last inputs, and of the states of all channels. */
function stateSizes({ kernel, channels, stateSize }: SelectiveScanDescription): number[] {
  return [(kernel - 1) * channels, channels * stateSize];
}

async function load(description: SelectiveScanDescription, loader: WeightLoader): Promise<Mixer> {
  const { kernel, channels, stateSize, rank, input, selection, convolutionBias } = description;
  const { backend } = loader;
  const part = (whole: typeof input, begin: number, end: number) =>
    loader.projection({ ...whole, rows: [[begin, end]] });
  const values = await part(input, 0, channels);
  const gate = await part(input, channels, 2 * channels);
  const convolution = await loader.vector(description.convolution);
  const bias = convolutionBias === undefined ? undefined : await loader.vector(convolutionBias);
  const followed = async (first: Operation, norm: typeof description.timeNorm): Promise<Operation> => {
    const second = await loader.norm(norm);
    return (x) => second(first(x));
  };
  const time = await followed(await part(selection, 0, rank), description.timeNorm);
  const into = await followed(await part(selection, rank, rank + stateSize), description.inputNorm);
  const out = await followed(await part(selection, rank + stateSize, rank + 2 * stateSize), description.outputNorm);
  const steps = await loader.projection(description.time);
  const rates = (await loader.vector(description.logRate)).map((value) => -Math.exp(value));
  const skip = await loader.vector(description.skip);
  const output = await loader.projection(description.output);

  return recurrentMixer((x, parts) => {
    const convolved = backend.convolution(values(x), convolution, bias, kernel, "silu", segmentsFor(0, parts));
    const scanned = scan(
      { values: convolved, steps: steps(time(convolved)).map(softplus), into: into(convolved), out: out(convolved) },
      { rates, skip },
      parts,
    );
    return output(backend.gated(gate(x), scanned, "silu"));
  });
}

/** The states of all channels, token by token; `[tokens, channels]`. `rates` `[channels, size]`, `into` and `out` `[tokens, size]`. */
function scan(
  { values, steps, into, out }: Readonly<Record<"values" | "steps" | "into" | "out", Float32Array>>,
  { rates, skip }: Readonly<Record<"rates" | "skip", Float32Array>>,
  parts: readonly RecurrentTokens[],
): Float32Array {
  const channels = skip.length;
  const size = rates.length / channels;
  const result = new Float32Array(values.length);
  let token = 0;
  for (const { tokens, arrays } of parts) {
    const state = arrays?.[1] ?? new Float32Array(channels * size);
    for (const end = token + tokens; token < end; token++) {
      for (let channel = 0; channel < channels; channel++) {
        const at = token * channels + channel;
        const [step, value] = [steps[at]!, values[at]!];
        let sum = skip[channel]! * value;
        for (let i = 0; i < size; i++) {
          const place = channel * size + i;
          state[place] = Math.exp(step * rates[place]!) * state[place]! + step * value * into[token * size + i]!;
          sum += state[place]! * out[token * size + i]!;
        }
        result[at] = sum;
      }
    }
  }
  return result;
}

import { projectionTensors } from "../tensor-list.js";
import type { WeightLoader } from "../weight-loader.js";
import type { ShortConvolutionDescription } from "./descriptions.js";
import type { Mixer, MixerKind } from "./mixer.js";
import { RecurrentState, recurrentBytes, recurrentMixer, segmentsFor } from "./recurrent-state.js";

/** Gated short convolution of LFM2: output(C * convolution(B * v)). */
export const shortConvolution: MixerKind<ShortConvolutionDescription> = {
  tensors: ({ input, output, convolution, bias, kernel }, hidden) => [
    ...[input, output].flatMap(projectionTensors),
    { name: convolution, shape: [hidden, 1, kernel] },
    ...(bias === undefined ? [] : [{ name: bias, shape: [hidden] }]),
  ],
  load,
  makeState: (description) => new RecurrentState(stateSizes(description)),
  stateSize: (description) => ({ bytesPerToken: 0, bytesPerSequence: recurrentBytes(stateSizes(description)) }),
};

function stateSizes({ kernel, output }: ShortConvolutionDescription): number[] {
  return [(kernel - 1) * output.shape[1]];
}

async function load(description: ShortConvolutionDescription, loader: WeightLoader): Promise<Mixer> {
  const { kernel, input } = description;
  const { backend } = loader;
  const size = input.shape[0] / 3;
  const part = (index: number) => loader.projection({ ...input, rows: [[index * size, (index + 1) * size]] });
  const [before, after, value] = [await part(0), await part(1), await part(2)];
  const weight = await loader.vector(description.convolution);
  const bias = description.bias === undefined ? undefined : await loader.vector(description.bias);
  const output = await loader.projection(description.output);

  return recurrentMixer((x, parts) => {
    const gated = multiply(before(x), value(x));
    const convolved = backend.convolution(gated, weight, bias, kernel, "none", segmentsFor(0, parts));
    return output(multiply(after(x), convolved));
  });
}

/** Multiplies a by b in place. */
function multiply(a: Float32Array, b: Float32Array): Float32Array {
  for (let i = 0; i < a.length; i++) a[i]! *= b[i]!;
  return a;
}

import { join } from "node:path";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import type { Backend } from "../../src/engine/backend.js";
import { generate } from "../../src/generate/generate-tokens.js";
import { describeModel } from "../../src/model/describe.js";
import { forward, OutputHead } from "../../src/model/forward.js";
import type { MoeOutput } from "../../src/model/moe.js";
import { largestDifference, readJson, readTensors } from "./goldens.js";

/** Largest deviation of each kind of output, over all layers and both inputs of a forward golden. */
export interface ForwardDeviation {
  logits: number;
  /** Root mean square of the deviation of the logits, which a few tokens with other experts hardly move. */
  logitsRootMeanSquare: number;
  hidden: number;
  input: number;
  output: number;
  routerLogits: number;
  weights: number;
  /** Choices of an expert that differ. */
  selected: number;
}

export async function forwardDeviation(folder: string, backend: Backend): Promise<ForwardDeviation> {
  const checkpoint = await Checkpoint.open(folder);
  const expected = await readTensors(join(folder, "expected.safetensors"));
  const model = describeModel(checkpoint.config, checkpoint);
  const worst: ForwardDeviation = {
    logits: 0,
    logitsRootMeanSquare: 0,
    hidden: 0,
    input: 0,
    output: 0,
    routerLogits: 0,
    weights: 0,
    selected: 0,
  };
  const compare = (kind: keyof ForwardDeviation, values: ArrayLike<number>, name: string) => {
    worst[kind] = Math.max(worst[kind], largestDifference(values, expected.get(name)!.values));
  };
  for (const suffix of ["", "_b"]) {
    const ids = expected.get(`input_ids${suffix}`)!;
    const batch = { sequences: ids.shape[0]!, length: ids.shape[1]!, ids: Int32Array.from(ids.values) };
    const tap = {
      hidden: (layer: number, _: number, hidden: Float32Array) => compare("hidden", hidden, `hidden.${layer}`),
      moe: (layer: number, _: number, input: Float32Array, { router }: MoeOutput, output: Float32Array) => {
        compare("input", input, `moe.${layer}.input`);
        compare("output", output, `moe.${layer}.output`);
        compare("routerLogits", router.logits, `moe.${layer}.router_logits`);
        compare("weights", router.routing.weights, `moe.${layer}.weights`);
        const chosen = expected.get(`moe.${layer}.selected`)!.values;
        worst.selected += router.routing.selected.filter((expert, i) => expert !== chosen[i]).length;
      },
    };
    const [hidden] = await forward(checkpoint, model, backend, [batch], suffix === "" ? tap : {});
    const head = await OutputHead.load(checkpoint, model, backend);
    const logits = head.logits(hidden!);
    compare("logits", logits, `logits${suffix}`);
    const wanted = expected.get(`logits${suffix}`)!.values;
    const squares = logits.reduce((sum, value, i) => sum + (value - wanted[i]!) ** 2, 0);
    worst.logitsRootMeanSquare = Math.max(worst.logitsRootMeanSquare, Math.sqrt(squares / logits.length));
    head.dispose();
  }
  await checkpoint.close();
  return worst;
}

/** Greedy tokens of a golden's prompt, ours and those expected. */
export async function generation(
  folder: string,
  backend: Backend,
): Promise<{ ours: readonly number[]; expected: readonly number[] }> {
  const { generation } = readJson<{ generation: { prompt: number[]; generated: number[] } }>(
    join(folder, "expected.json"),
  );
  const checkpoint = await Checkpoint.open(folder);
  const model = describeModel(checkpoint.config, checkpoint);
  const ours = await generate(checkpoint, model, backend, generation.prompt, generation.generated.length);
  await checkpoint.close();
  return { ours, expected: generation.generated };
}

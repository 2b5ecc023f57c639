import type { OutputFolder } from "../../checkpoint/output.js";
import type { DType } from "../../checkpoint/tensor.js";
import { formatOf } from "../../compress/steps/step.js";
import type { Backend } from "../../engine/backend.js";
import { isMoe } from "../../model/description.js";
import { LayerFiles } from "../layer-files.js";
import type { OpenedModel } from "../open-model.js";
import type { OutputTarget } from "../output-target.js";
import type { StepWork } from "./layer-steps.js";
import { StepFiles } from "./step-files.js";
import type { StepPlan } from "./step-plan.js";

interface OpenSteps extends Pick<OutputTarget, "dtype"> {
  readonly opened: OpenedModel;
  readonly output: OutputFolder | undefined;
  readonly backend: Backend;
  readonly kept: number;
}

/** Opens what the steps of a compression keep. Close it when the output is written. */
export async function openSteps(
  plan: StepPlan,
  { opened, output, backend, kept, dtype }: OpenSteps,
): Promise<StepWork & { close(): Promise<void> }> {
  const scaleDtype = dtype ?? floatsOf(opened);
  const files = new StepFiles(await LayerFiles.open(output, "steps"), formatOf(plan.steps), scaleDtype, backend);
  return {
    ...{ plan, files, scaleDtype, kept },
    close: () => files.close(),
  };
}

/** Dtype of the model's routed experts. */
function floatsOf({ checkpoint, model }: OpenedModel): DType {
  const layer = model.layers.find(isMoe)!;
  return checkpoint.info(layer.feedForward.experts.names[0]!).dtype as DType;
}

import { OutputFolder } from "../checkpoint/output.js";
import type { Backend } from "../engine/backend.js";
import type { OpenedModel } from "./open-model.js";
import type { ResolvedCompressOptions } from "./options.js";
import { fingerprintOf, outputIdentity, type PlanInput } from "./output-identity.js";
import { outputTarget } from "./output-target.js";
import { openRefit, type RefitWork } from "./reconstruct/open-refit.js";
import type { RefitPlan } from "./reconstruct/refit-plan.js";
import { openRouter, type RouterWork } from "./router/open-router.js";
import type { RouterPlan } from "./router/router-plan.js";
import { beginSplit, type CompressElsewhere, type Split } from "./split/split.js";
import type { StepWork } from "./steps/layer-steps.js";
import { openSteps } from "./steps/open-steps.js";
import type { StepPlan } from "./steps/step-plan.js";

export interface OutputWork {
  readonly input: PlanInput;
  readonly backend: Backend;
  /** Experts that each layer keeps. */
  readonly kept: number;
  readonly steps: StepPlan | undefined;
  readonly refit: RefitPlan | undefined;
  readonly router: RouterPlan | undefined;
  /** Makes parts of the output; without it all is made here. */
  readonly elsewhere: CompressElsewhere | undefined;
}

/** An output that is being made, and what is kept of its layers meanwhile. Close it when it is written, or not to be. */
export interface OpenedOutput {
  /** Absent in a dry run. */
  readonly output: OutputFolder | undefined;
  readonly split: Split | undefined;
  readonly steps: StepWork | undefined;
  readonly refit: RefitWork | undefined;
  readonly router: RouterWork | undefined;
  close(): Promise<void>;
}

/** The output, resumed where an earlier run of the same work left off. Errors: those of `OutputFolder.create`. */
export async function openOutput(
  options: ResolvedCompressOptions,
  opened: OpenedModel,
  work: OutputWork,
): Promise<OpenedOutput> {
  const { output, split } = await openFolder(options, opened, work);
  const { backend, kept } = work;
  const { dtype } = outputTarget(options, backend, opened.model);
  const steps = work.steps && (await openSteps(work.steps, { opened, output, backend, kept, dtype }));
  const refit = work.refit && (await openRefit(work.refit, output));
  const router = work.router && (await openRouter(work.router, output));
  return {
    ...{ output, split, steps, refit, router },
    async close() {
      await router?.close();
      await refit?.close();
      await steps?.close();
      await output?.close();
    },
  };
}

async function openFolder(
  options: ResolvedCompressOptions,
  opened: OpenedModel,
  { input, backend, kept, steps, refit, router, elsewhere }: OutputWork,
): Promise<Pick<OpenedOutput, "output" | "split">> {
  const { out, restart, dryRun } = options;
  if (dryRun) return { output: undefined, split: undefined };
  const identity = await outputIdentity(options, opened, input, backend, { steps, refit, router });
  const fingerprint = fingerprintOf(identity);
  const output = await OutputFolder.create(out!, { fingerprint, source: opened.folder, restart });
  try {
    const split = elsewhere && (await beginSplit(elsewhere, output, identity, opened.model, kept));
    return { output, split };
  } catch (error) {
    await output.close();
    throw error;
  }
}

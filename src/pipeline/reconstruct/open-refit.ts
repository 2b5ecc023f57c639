import type { OutputFolder } from "../../checkpoint/output.js";
import { LayerFiles } from "../layer-files.js";
import { RefitFiles } from "./refit-files.js";
import type { RefitPlan } from "./refit-plan.js";

/** What the refits of a compression need in every layer. */
export interface RefitWork {
  readonly plan: RefitPlan;
  readonly files: RefitFiles;
}

/** Opens what the refits of a compression keep. Close it when the output is written. */
export async function openRefit(
  plan: RefitPlan,
  output: OutputFolder | undefined,
): Promise<RefitWork & { close(): Promise<void> }> {
  const files = new RefitFiles(await LayerFiles.open(output, "reconstruct"));
  return { plan, files, close: () => files.close() };
}

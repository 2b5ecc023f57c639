import type { OutputFolder } from "../../checkpoint/output.js";
import { WorkFolder } from "../steps/work-folder.js";
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
  const folder = await WorkFolder.open(output, "reconstruct");
  const files = new RefitFiles(folder);
  return {
    ...{ plan, files },
    close: async () => {
      await files.close();
      await folder.close();
    },
  };
}

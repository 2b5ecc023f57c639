import type { OutputFolder } from "../../checkpoint/output.js";
import { LayerFiles } from "../layer-files.js";
import { RouterFiles } from "./router-files.js";
import type { RouterPlan } from "./router-plan.js";

/** What the fits of routers need in every layer. */
export interface RouterWork {
  readonly plan: RouterPlan;
  readonly files: RouterFiles;
}

/** Opens what the fits of routers keep. Close it when the output is written. */
export async function openRouter(
  plan: RouterPlan,
  output: OutputFolder | undefined,
): Promise<RouterWork & { close(): Promise<void> }> {
  const files = new RouterFiles(await LayerFiles.open(output, "router"));
  return { plan, files, close: () => files.close() };
}

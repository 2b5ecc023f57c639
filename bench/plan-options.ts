import { availableParallelism } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { packageFolder } from "../src/package-folder.js";
import type { CompressOptions } from "../src/pipeline/options.js";

/**
 * The command line of scripts that compare plans of one model: what to plan, by default of the demo's model and texts, and the
 * options of their own. Plans are not sequential, so that every layer is compared on the same inputs.
 */
export function planOptions(sequences: number, own: Readonly<Record<string, string>> = {}) {
  const demo = join(packageFolder(), "demo");
  const defaults = {
    ...{ model: join(demo, "model"), sequences: String(sequences), length: "128", experts: "48" },
    ...{ threads: String(availableParallelism()), ...own },
  };
  const options = Object.fromEntries(
    Object.entries(defaults).map(([name, value]) => [name, { type: "string" as const, default: value }]),
  );
  const parsed = parseArgs({ options: { ...options, domain: { type: "string", multiple: true } } });
  const values: Readonly<Record<string, unknown>> = parsed.values;
  const texts = ["general", "math", "code"].map(
    (name) => `${name}=${join(demo, "data", "calibration", `${name}.jsonl`)}`,
  );
  const number = (name: string) => Number(values[name]);
  const common: CompressOptions = {
    ...{ model: String(values.model), domain: (values.domain as string[] | undefined) ?? texts },
    ...{ dryRun: true, sequential: false, sequences: number("sequences"), length: number("length") },
    ...{ experts: number("experts"), threads: number("threads") },
  };
  return { common, number };
}

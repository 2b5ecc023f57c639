import { Command } from "commander";
import { calibrationOptions } from "../calibration/options.js";
import { ReamError } from "../errors.js";
import { formatBytes, formatCount, formatDuration, formatTable } from "../format.js";
import { type ObserveResult, observe } from "../observe/observe.js";
import { type ObserveOptions, observeOptions } from "../observe/options.js";
import { follow } from "../pipeline/follow.js";
import { peakMemory } from "./compress.js";
import { readOptions } from "./config-file.js";
import { ENGINE_GROUP } from "./option-groups.js";
import { addOutputOptions, type Outcome, type OutputFlags, type RunContext, runCommand } from "./run-command.js";
import { addSchemaOptions, givenOptions, type OptionGroup } from "./schema-options.js";
import { storeOption } from "./store-option.js";

const EXAMPLES = `
Examples:
  $ ream observe Qwen/Qwen3-30B-A3B --out observed
  $ ream observe ./model --domain general=texts.jsonl --domain code=sources/ --out observed
  $ ream plan --observed observed --mix general=0.3,code=0.7 --experts 96 --method reap
  $ ream compress ./model --observed observed --mix general=0.3,code=0.7 --experts 96 --out small

The original model is observed: a compression from it is not sequential. Interrupted, the same command goes on.`;

const MAIN = ["out", "domain", "mix", "sequences", "length"];
const CALIBRATION = Object.keys(calibrationOptions.shape).filter(
  (key) => !MAIN.includes(key) && key in observeOptions.shape,
);
const GROUPS: readonly OptionGroup[] = [
  { heading: "Main options:", keys: [...MAIN, "restart"] },
  { heading: "Calibration:", keys: CALIBRATION },
  { heading: "What is summed:", keys: ["samples", "gatedOutputs", "tokenCosines", "pruningOnly"] },
  ENGINE_GROUP,
];

interface Flags extends OutputFlags {
  readonly config?: string;
  readonly queue?: string;
  readonly store?: string;
}

export function observeCommand(done: (status: number) => void): Command {
  const command = new Command("observe")
    .summary("save what every domain's text shows of a model")
    .description(
      "Runs the text of each domain through the model once and saves the sums from which every mix, method and number\nof experts can be planned afterwards (ream plan, ream compress --observed).",
    )
    .argument("<model>", "folder or hub id org/name[@revision]")
    .option("--config <file>", "JSON file with options as keys; flags win over it")
    .option("--queue <url>", "have the units observed by `ream worker --queue URL` (docs/study-queue.md)")
    .addOption(storeOption());
  addSchemaOptions(command, observeOptions, GROUPS);
  addOutputOptions(command).addHelpText("after", EXAMPLES);
  return command.action(async (model: string, flags: Flags) => {
    const given = { ...givenOptions(command, observeOptions), model };
    const interrupted = "Interrupted. The same command goes on from here; --restart begins anew.";
    done(await runCommand(flags, (context) => run(given, flags, context), interrupted));
  });
}

async function run(
  given: Readonly<Record<string, unknown>>,
  { config, queue, store }: Flags,
  { signal, onEvent }: RunContext,
): Promise<Outcome> {
  const options = (await readOptions(observeOptions, config, given)) as ObserveOptions;
  const began = performance.now();
  if (queue === undefined && store !== undefined) {
    throw new ReamError("OPTION_MISSING", "a store is for units that several machines observe", {
      where: "--store",
      hint: "Give --queue URL, too, or leave --store out.",
    });
  }
  const elsewhere = queue === undefined ? undefined : await workersOf(queue, store, options, { signal, onEvent });
  const result = await follow(observe(options, signal, elsewhere), onEvent);
  return outcome(result, (performance.now() - began) / 1000);
}

async function workersOf(
  url: string,
  store: string | undefined,
  options: ObserveOptions,
  context: Pick<RunContext, "signal" | "onEvent">,
) {
  // Loading what talks to Redis takes longer than all else.
  const { observeOnQueue } = await import("../study/queue/observe-queue.js");
  return observeOnQueue(url, store, options, context);
}

function outcome({ out, manifest }: ObserveResult, seconds: number): Outcome {
  const rows = Object.entries(manifest.domains).map(([name, { cuts, tokens, source }]) => [
    name,
    formatCount(cuts.at(-1)!),
    formatCount(tokens),
    String(cuts.length),
    source,
  ]);
  const lines = [
    formatTable([["domain", "sequences", "tokens", "cuts", "source"], ...rows]),
    `${manifest.layers.length} layers of ${manifest.limits.experts} experts, ${formatDuration(seconds)}, at most ${formatBytes(peakMemory())} of memory`,
    `Written to ${out}`,
  ];
  return { json: { out, seconds, peakMemory: peakMemory(), ...manifest }, text: `${lines.join("\n")}\n` };
}

import { Command } from "commander";
import { isMerged } from "../compress/plan.js";
import { settingsSchema } from "../compress/settings.js";
import { formatDuration, formatTable } from "../format.js";
import { type PlanOptions, type PlanResult, plan, planOptions } from "../observe/plan.js";
import { follow } from "../pipeline/follow.js";
import { readOptions } from "./config-file.js";
import { addOutputOptions, type Outcome, type OutputFlags, runCommand } from "./run-command.js";
import { addSchemaOptions, givenOptions, type OptionGroup } from "./schema-options.js";

const EXAMPLES = `
Examples:
  $ ream plan --observed observed --experts 96
  $ ream plan --observed observed --experts 64 --method reap --mix general=0.2,math=0.5,code=0.3 --json > plan.json

The plan has groups and weights, but not how neurons correspond: that needs the model, and is computed by
ream compress --observed with the same options.`;

const GROUPS: readonly OptionGroup[] = [
  { heading: "Main options:", keys: ["observed", "mix", "experts", "method"] },
  { heading: "Method settings (default: those of the method):", keys: Object.keys(settingsSchema.shape) },
];

export function planCommand(done: (status: number) => void): Command {
  const command = new Command("plan")
    .summary("what a method would do, from an observation")
    .description("Tells in seconds which experts a method would keep and merge, from the sums of `ream observe`.")
    .option("--config <file>", "JSON file with options as keys; flags win over it");
  addSchemaOptions(command, planOptions, GROUPS);
  addOutputOptions(command).addHelpText("after", EXAMPLES);
  return command.action(async (flags: OutputFlags & { readonly config?: string }) => {
    done(
      await runCommand(flags, async ({ signal, onEvent }) => {
        const options = await readOptions(planOptions, flags.config, givenOptions(command, planOptions));
        const began = performance.now();
        const result = await follow(plan(options as PlanOptions, signal), onEvent);
        return outcome(result, (performance.now() - began) / 1000);
      }),
    );
  });
}

function outcome({ plan, settings, mix }: PlanResult, seconds: number): Outcome {
  const rows = plan.layers.map(({ layer, keptExperts, groups }) => {
    const merged = groups.filter(isMerged);
    const largest = Math.max(...groups.map(({ members }) => members.length));
    return [String(layer), String(keptExperts.length), String(merged.length), String(largest)];
  });
  const { before, after } = plan.experts;
  const shares = mix.calibration.domains.map(({ name, sequences }) => `${name} ${sequences}`).join(", ");
  const lines = [
    formatTable([["layer", "kept", "merged groups", "largest group"], ...rows]),
    `${plan.method}: ${before} -> ${after} experts, from ${mix.exact ? "the sums" : "weighted sums"} of ${shares} sequences, ${formatDuration(seconds)}`,
    "--json prints the plan.",
  ];
  const { calibration, exact } = mix;
  return { json: { plan, settings, exact, calibration, seconds }, text: `${lines.join("\n")}\n` };
}

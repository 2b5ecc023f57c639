import { Command, Option } from "commander";
import { advise } from "../advise/advise.js";
import { type AdviseOptions, adviseOptions } from "../advise/options.js";
import { computeOptions } from "../pipeline/options.js";
import { describeAdvice } from "./advice-table.js";
import { readOptions } from "./config-file.js";
import { ENGINE_GROUP } from "./option-groups.js";
import { addOutputOptions, type OutputFlags, runCommand } from "./run-command.js";
import { addSchemaOptions, givenOptions, type OptionGroup } from "./schema-options.js";
import { styleFor } from "./style.js";
import { wholeNumber } from "./whole-number.js";

const EXAMPLES = `
Examples:
  $ ream advise ./model --fit 24GB
  $ ream advise Qwen/Qwen3-30B-A3B --fit 24GB --context 32768 --observed observed
  $ ream advise ./model --fit 24GB --results study --results evaluation --json

What is measured and what is predicted, and what the sizes hold: docs/advise.md.`;

const MEMORY = ["fit", "context", "sequences", "allowance"];
const ENGINE = Object.keys(computeOptions.shape);
const QUALITY = Object.keys(adviseOptions.shape).filter((key) => ![...MEMORY, ...ENGINE, "model"].includes(key));

const GROUPS: readonly OptionGroup[] = [
  { heading: "Memory:", keys: MEMORY },
  { heading: "Candidates and their quality:", keys: QUALITY },
  ENGINE_GROUP,
];

interface Flags extends OutputFlags {
  readonly config?: string;
  readonly rows: number;
}

export function adviseCommand(done: (status: number) => void): Command {
  const command = new Command("advise")
    .summary("which ways of shrinking a model fit a memory")
    .description(
      "Lists the numbers of experts, methods and weight formats with which a model fits a memory: exact sizes, caches of a\n" +
        "context, and what is known of the quality - measured where there are results, else predicted, and said to be.",
    )
    .argument("<model>", "folder or hub id org/name[@revision]")
    .option("--config <file>", "JSON file with options as keys; flags win over it")
    .addOption(
      new Option("--rows <number>", "lines of the table; --json has all").argParser(wholeNumber(1)).default(24),
    );
  addSchemaOptions(command, adviseOptions, GROUPS);
  addOutputOptions(command).addHelpText("after", EXAMPLES);
  return command.action(async (model: string, flags: Flags) => {
    const given = { ...givenOptions(command, adviseOptions), model };
    done(
      await runCommand(flags, async ({ signal, onEvent, note }) => {
        const options = await readOptions(adviseOptions, flags.config, given);
        const advice = await advise(options as AdviseOptions, { signal, onEvent, note });
        return { json: { ...advice }, text: describeAdvice(advice, flags.rows, styleFor(process.stdout)) };
      }),
    );
  });
}

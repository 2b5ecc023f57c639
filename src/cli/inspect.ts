import { Command } from "commander";
import { calibrationOptions } from "../calibration/options.js";
import { inspect } from "../pipeline/inspect.js";
import { describeInspection } from "./inspection-text.js";
import { addOutputOptions, type OutputFlags, runCommand } from "./run-command.js";
import { addSchemaOptions } from "./schema-options.js";

const EXAMPLES = `
Examples:
  $ ream inspect ./model
  $ ream inspect ./model --sequences 512 --length 256
  $ ream inspect ./model --json`;

interface Flags extends OutputFlags {
  readonly sequences: number;
  readonly length: number;
  readonly layers?: boolean;
}

export function inspectCommand(done: (status: number) => void): Command {
  const command = new Command("inspect")
    .summary("show what a model is and what compressing it takes")
    .description(
      "Shows what a model is, where its bytes are, its size with fewer experts, and the memory that compressing needs.\nA model of the hub is fetched first.",
    )
    .argument("<model>", "folder or hub id org/name[@revision]")
    .option("--layers", "show the sizes of every layer");
  addSchemaOptions(command, calibrationOptions, [
    { heading: "Calibration set of the memory estimate:", keys: ["sequences", "length"] },
  ]);
  addOutputOptions(command).addHelpText("after", EXAMPLES);
  return command.action(async (model: string, { sequences, length, layers, ...flags }: Flags) => {
    done(
      await runCommand(flags, async ({ signal, onEvent }) => {
        const inspection = await inspect(model, { sequences, length, signal, onEvent });
        return { json: { ...inspection }, text: describeInspection(inspection, layers === true) };
      }),
    );
  });
}

import { Command } from "commander";
import { dumpEvaluation, evaluate } from "../evaluate/run/evaluate.js";
import { type EvaluateOptions, evaluateOptions } from "../evaluate/run/options.js";
import { formatCount } from "../format.js";
import { follow } from "../pipeline/follow.js";
import { readOptions } from "./config-file.js";
import { describeEvaluation } from "./evaluation-table.js";
import { ENGINE_GROUP } from "./option-groups.js";
import { addOutputOptions, type Outcome, type OutputFlags, type RunContext, runCommand } from "./run-command.js";
import { addSchemaOptions, givenOptions, type OptionGroup } from "./schema-options.js";
import { styleFor } from "./style.js";

const EXAMPLES = `
Examples:
  $ ream evaluate Qwen/Qwen3-30B-A3B ./Qwen3-23B --tasks mc,gen
  $ ream evaluate ./model ./small --tasks arc_easy,gsm8k --limit 200 --data ./rows
  $ ream evaluate --endpoint http://localhost:8000/v1 --model small --tasks gen
  $ ream evaluate ./model --tasks mmlu --dump-requests requests.jsonl
  $ ream evaluate --judge answers.jsonl --tasks humaneval_instruct

Tasks: \`ream tasks\`. Interrupted or killed, the same command goes on where it stopped and asks nothing twice.`;

const GROUPS: readonly OptionGroup[] = [
  {
    heading: "Main options:",
    keys: ["tasks", "out", "limit", "leaveOut", "data", "heldOut", "heldOutSequences", "heldOutLength", "restart"],
  },
  { heading: "Questions:", keys: ["fewshot", "fewshotPick", "chat", "thinking"] },
  { heading: "Answers:", keys: ["temperature", "topP", "topK", "minP", "samples", "seed", "maxTokens", "unsafeCode"] },
  { heading: "Endpoint:", keys: ["endpoint", "model", "api", "apiKeyEnv", "concurrency", "tokenizer"] },
  { heading: "Without a model:", keys: ["dumpRequests", "judge"] },
  { heading: "Engine:", keys: ["resident"] },
  ENGINE_GROUP,
];

interface Flags extends OutputFlags {
  readonly config?: string;
}

export function evaluateCommand(done: (status: number) => void): Command {
  const command = new Command("evaluate")
    .summary("put models to benchmarks, and compare each with the first")
    .description(
      "Evaluates models on multiple-choice (MC) and generative (GEN) benchmarks and compares each one with the first:\n" +
        "paired differences with confidence intervals, answers that flipped, and what is wrong with them.",
    )
    .argument("[models...]", "MODEL or NAME=MODEL, folders or hub ids org/name[@revision]; the first is the original")
    .option("--config <file>", "JSON file with options as keys (maxTokens, heldOut ...); flags win over it");
  addSchemaOptions(command, evaluateOptions, GROUPS);
  addOutputOptions(command).addHelpText("after", EXAMPLES);
  return command.action(async (models: string[], flags: Flags) => {
    const given = { ...givenOptions(command, evaluateOptions), ...(models.length > 0 && { models }) };
    done(
      await runCommand(
        flags,
        async (context) => {
          const options = await readOptions(evaluateOptions, flags.config, given);
          return options.dumpRequests === undefined
            ? run(options, context)
            : dump(options, options.dumpRequests, context);
        },
        "Interrupted. The same command goes on from here; --restart begins anew.",
      ),
    );
  });
}

async function run(options: EvaluateOptions, { signal, onEvent }: RunContext): Promise<Outcome> {
  const evaluation = await follow(evaluate(options, signal), onEvent);
  return { json: { ...evaluation }, text: describeEvaluation(evaluation, styleFor(process.stdout)) };
}

async function dump(options: EvaluateOptions, path: string, { signal, onEvent }: RunContext): Promise<Outcome> {
  const tasks = await follow(dumpEvaluation({ ...options, dumpRequests: path }, signal), onEvent);
  const total = Object.values(tasks).reduce((sum, lines) => sum + lines, 0);
  return {
    json: { file: path, tasks },
    text: `${formatCount(total)} requests of ${Object.keys(tasks).length} tasks in ${path}\n`,
  };
}

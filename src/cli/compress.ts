import { Command } from "commander";
import { type BlockPlan, blockPlans, isMerged, type Plan, planDigest } from "../compress/plan.js";
import { METHODS } from "../compress/settings.js";
import { formatBytes, formatDuration } from "../format.js";
import { type CompressResult, compress } from "../pipeline/compress.js";
import { follow } from "../pipeline/follow.js";
import { layerLosses, lossSentences } from "../pipeline/layer-losses.js";
import { type CompressOptions, compressOptions } from "../pipeline/options.js";
import { requantisedSentence } from "../pipeline/requantise.js";
import { readOptions } from "./config-file.js";
import { COMPRESS_GROUPS } from "./option-groups.js";
import { addOutputOptions, type Outcome, type OutputFlags, type RunContext, runCommand } from "./run-command.js";
import { addSchemaOptions, givenOptions } from "./schema-options.js";

const EXAMPLES = `
Examples:
  $ ream compress Qwen/Qwen3-30B-A3B --experts 96 --out Qwen3-23B
  $ ream compress ./model --experts 48 --out ./small --mix general=0.5,code=0.5 \\
      --domain general=texts.jsonl --domain code=sources/
  $ ream compress ./model --experts 48 --method reap --out ./pruned
  $ ream compress ./model --experts 48 --then int4 --out ./small-int4
  $ ream compress ./model --then wanda:2:4 --out ./sparse
  $ ream compress ./model --experts 48 --dry-run --json > plan.json
  $ ream compress ./model --plan plan.json --out ./small
  $ ream compress ./model --observed observed --experts 48 --out ./small --queue redis://host:6379

Interrupted or killed, the same command goes on where it stopped. Exit status: 0 done, 1 failed, 2 wrong usage,
130 interrupted.`;

interface Flags extends OutputFlags {
  readonly config?: string;
  readonly queue?: string;
}

export function compressCommand(done: (status: number) => void): Command {
  const methods = Object.entries(METHODS).map(([name, { about }]) => `  ${name.padEnd(15)}${about}`);
  const command = new Command("compress")
    .summary("merge or prune the experts of a model")
    .description(
      "Compresses a Mixture-of-Experts model: every layer keeps --experts of its experts, the others are merged into\nthem or dropped. The result loads like the original.",
    )
    .argument("[model]", "folder or hub id org/name[@revision]")
    .option("--config <file>", "JSON file with options as keys (dryRun, groupSize ...); flags win over it")
    .option(
      "--queue <url>",
      "with --observed or --plan: have layers planned and files written by `ream worker --queue URL` (docs/study-queue.md)",
    );
  addSchemaOptions(command, compressOptions, COMPRESS_GROUPS);
  addOutputOptions(command).addHelpText("after", `\nMethods:\n${methods.join("\n")}\n${EXAMPLES}`);
  return command.action(async (model: string | undefined, flags: Flags) => {
    const given = { ...givenOptions(command, compressOptions), ...(model !== undefined && { model }) };
    done(
      await runCommand(
        flags,
        async ({ signal, onEvent }) => {
          // The settings that were not given are the method's; the others are as checked.
          const options = (await readOptions(compressOptions, flags.config, given)) as CompressOptions;
          const began = performance.now();
          const { queue } = flags;
          const elsewhere = queue === undefined ? undefined : await workersOf(queue, options, { signal, onEvent });
          const result = await follow(compress(options, signal, elsewhere), onEvent);
          return outcome(options.model, result, (performance.now() - began) / 1000);
        },
        "Interrupted. The same command goes on from here; --restart begins anew.",
      ),
    );
  });
}

async function workersOf(url: string, options: CompressOptions, context: Pick<RunContext, "signal" | "onEvent">) {
  // Loading what talks to Redis takes longer than all else.
  const { compressOnQueue } = await import("../study/queue/compress-queue.js");
  return compressOnQueue(url, options, context);
}

/** Highest resident memory of the process so far, in bytes. */
export function peakMemory(): number {
  return process.resourceUsage().maxRSS * 1024;
}

function outcome(model: string, result: CompressResult, seconds: number): Outcome {
  const { out, plan, steps, refits, settings, calibration, bytes, requantised, predictionLayers } = result;
  const losses = layerLosses(plan, refits);
  const rounded = requantisedSentence(requantised);
  const common = {
    model,
    out: out ?? null,
    method: plan.method,
    experts: plan.experts,
    steps: steps?.steps.map(({ text }) => text) ?? [],
    ...(losses.length > 0 && { losses }),
    bytes,
    seconds,
    peakMemory: peakMemory(),
    ...(settings !== undefined && { settings }),
    ...(calibration !== undefined && { calibration }),
    ...(predictionLayers !== undefined && { predictionLayers }),
  };
  const { before, after } = plan.experts;
  const { absorbed, dropped } = countMembers(plan);
  const rest = [
    ...(absorbed > 0 ? [`${absorbed} merged into others`] : []),
    ...(dropped > 0 ? [`${dropped} dropped`] : []),
  ];
  const lines = [
    ...(steps === undefined || before !== after
      ? [
          `${plan.method}: ${before} -> ${after} experts in ${plan.layers.length} layer${plan.layers.length === 1 ? "" : "s"}${rest.length > 0 ? `, ${rest.join(", ")}` : ""}`,
        ]
      : []),
    ...lossSentences(plan, refits),
    ...(rounded === undefined ? [] : [rounded]),
    ...(steps === undefined
      ? []
      : [`${steps.steps.map(({ text }) => text).join(", then ")}: ${[...steps.parts].join(", ")}`]),
    `${formatBytes(bytes.before)} -> ${formatBytes(bytes.after)}, ${formatDuration(seconds)}, at most ${formatBytes(common.peakMemory)} of memory`,
    ...(bytes.sparse === undefined
      ? []
      : [`The zeros are stored like all weights; without them it would be ${formatBytes(bytes.sparse)}`]),
    out === undefined ? "Nothing was written (--dry-run). --json prints the plan." : `Written to ${out}`,
  ];
  return {
    json: { ...common, plan: out === undefined ? plan : summarise(plan) },
    text: `${lines.join("\n")}\n`,
  };
}

/** Experts of all layers that changed another one, and those that are gone without a trace. */
function countMembers(plan: Plan): { absorbed: number; dropped: number } {
  const blocks = blockPlans(plan);
  const groups = blocks.flatMap((block) => block.groups);
  const absorbed = groups.filter(isMerged).reduce((sum, { members }) => sum + members.length - 1, 0);
  const gone = blocks.reduce((sum, { keptExperts }) => sum + plan.experts.before - keptExperts.length, 0);
  return { absorbed, dropped: gone - absorbed };
}

/** The plan without its permutations, which are in the checkpoint already. */
function summarise(plan: Plan) {
  const brief = ({ keptExperts, groups }: BlockPlan) => ({
    keptExperts,
    groups: groups.map(({ members, weights }) => ({ members, weights })),
  });
  const layers = plan.layers.map(({ attention, ...layer }) => ({
    ...layer,
    ...brief(layer),
    ...(attention && { attention: brief(attention) }),
  }));
  return { ...plan, digest: planDigest(plan.layers), layers };
}

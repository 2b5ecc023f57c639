import { Command, InvalidArgumentError } from "commander";
import type { z } from "zod";
import type { HeldOutMeasure } from "../evaluate/held-out.js";
import type { Evaluation } from "../evaluate/run/evaluation.js";
import { formatBytes, formatCount, formatDuration, formatShare, formatTable } from "../format.js";
import { computeOptions } from "../pipeline/options.js";
import type { RatioAnalysis } from "../study/analysis/analysis.js";
import { type Mix, mixKey } from "../study/mix.js";
import { readOptions } from "./config-file.js";
import { DEMO_DOMAINS, DEMO_MIX, type DemoResult, type DemoRow, runDemo } from "./demo-run.js";
import type { DemoStudy } from "./demo-study.js";
import { ENGINE_GROUP } from "./option-groups.js";
import { addOutputOptions, type OutputFlags, runCommand } from "./run-command.js";
import { addSchemaOptions, givenOptions } from "./schema-options.js";
import { type Style, styleFor } from "./style.js";

const EXAMPLES = `
Examples:
  $ ream demo
  $ ream demo --mix math=0.5,code=0.5 --out /tmp/ream-demo
  $ ream demo --json > demo.json`;

interface Flags extends OutputFlags {
  readonly out: string;
  readonly mix: string;
  readonly sequences?: number;
  readonly items?: number;
}

export function demoCommand(done: (status: number) => void): Command {
  const command = new Command("demo")
    .summary("compress a small model that comes with the program, and see what it cost")
    .description(
      "Compresses the embedded model (7.7 M parameters, 64 experts in each layer) to 48 and 32 experts with ream and reap,\n" +
        "and compares the results with the original on held-out text and on 14 tasks; then three mixes of calibration text, with\n" +
        "a page. Needs no network.",
    )
    .option("--out <folder>", "where the compressed checkpoints go; those of an earlier demo are replaced", "ream-demo")
    .option(
      "--sequences <number>",
      "calibration sequences of 128 tokens; fewer are a quicker, rougher demo (default: 512; 24 without the native core)",
      parseCount,
    )
    .option(
      "--items <number>",
      "items of each of the 14 tasks, at most 200 (default: 100; 4 without the native core)",
      parseCount,
    )
    .option("--mix <shares>", `calibration domains and their shares (${DEMO_DOMAINS.join(", ")})`, DEMO_MIX);
  addSchemaOptions(command, computeOptions, [ENGINE_GROUP]);
  addOutputOptions(command).addHelpText("after", EXAMPLES);
  return command.action(async ({ out, mix, sequences, items, ...flags }: Flags) => {
    done(
      await runCommand(flags, async (context) => {
        const engine: z.output<typeof computeOptions> = await readOptions(
          computeOptions,
          undefined,
          givenOptions(command, computeOptions),
        );
        const began = performance.now();
        const result = await runDemo({ ...engine, out, mix, sequences, items }, context);
        const seconds = (performance.now() - began) / 1000;
        return { json: { ...result, seconds }, text: describe(result, seconds, styleFor(process.stdout)) };
      }),
    );
  });
}

function parseCount(text: string): number {
  if (/^[1-9]\d{0,4}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("Give a whole number from 1 to 99999.");
}

function describe(
  { out, mix, backend, sequences, length, rows, evaluation, study }: DemoResult,
  seconds: number,
  { bold, dim }: Style,
): string {
  const tokens = Object.values(rows[0]!.heldOut).reduce((sum, measure) => sum + measure.tokens, 0);
  const items = evaluation.subjects[0]!.tasks[0]!.items;
  const errors = evaluation.subjects.map(({ averages }) => averages.avg?.standardError ?? 0);
  const error = (100 * Math.max(...errors)).toFixed(1);
  const table = formatTable([
    ["model", "experts", "size", "MC", "GEN", "AVG", ...DEMO_DOMAINS, "same token", "KL"],
    ...rows.map((row, index) => [
      row.name,
      String(row.experts),
      formatBytes(row.bytes),
      ...averages(evaluation, index),
      ...DEMO_DOMAINS.map((domain) => row.heldOut[domain]!.perplexity.toFixed(2)),
      formatShare(mean(row, ({ agreement }) => agreement)),
      mean(row, ({ divergence }) => divergence).toFixed(3),
    ]),
  ]);
  const [header, ...body] = table.split("\n");
  return [
    "",
    bold(header!),
    ...body,
    "",
    `How to read it: MC is the mean over 8 multiple-choice tasks, GEN over 6 tasks with written answers, in per cent (${items}`,
    `items each, standard errors of AVG up to ${error}); general, math, code are perplexities on ${formatCount(tokens)} held-out tokens`,
    '(lower is better); "same token" and KL tell how near a model stays to the original.',
    "",
    ...describeStudy(study, bold),
    "",
    dim(
      `Calibrated on ${formatCount(sequences)} x ${length} tokens of ${mix}. ${formatDuration(seconds)} on ${backend}.`,
    ),
    dim(`The compressed checkpoints are in ${out}/: try ream inspect ${out}/${rows[1]!.name}`),
    dim(`Every question, answer and verdict is in ${evaluation.out}/`),
    "Try next: ream demo --mix math=0.5,code=0.5",
    "",
  ].join("\n");
}

/** Scores of each mix, a line for each, and where the page is. */
function describeStudy({ analysis, report, items }: DemoStudy, bold: Style["bold"]): string[] {
  const [{ points, methods, mixes }] = analysis.ratios as [RatioAnalysis];
  const cells = (mix: Mix, method: string) => {
    const found = points.find((point) => point.method === method && mixKey(point.mix) === mixKey(mix))!;
    return [found.scores.mc.value.toFixed(1), found.scores.gen.value.toFixed(1)];
  };
  const table = formatTable([
    ["calibration text", ...methods.flatMap(({ method }) => [`${method} MC`, "GEN"])],
    ...mixes.map((mix) => [
      Object.entries(mix)
        .map(([name, share]) => `${name} ${Number(share.toFixed(2))}`)
        .join(", "),
      ...methods.flatMap(({ method }) => cells(mix, method)),
    ]),
  ]);
  const [header, ...body] = table.split("\n");
  return [
    `Which text to calibrate on? 48 experts, 4 of the tasks, ${items} items each:`,
    "",
    bold(header!),
    ...body,
    "",
    `The page of this little study: ${report}`,
  ];
}

/** MC, GEN and AVG in per cent. */
function averages({ subjects }: Evaluation, index: number): string[] {
  const { mc, gen, avg } = subjects[index]!.averages;
  return [mc, gen, avg].map((mean) => (100 * mean!.mean).toFixed(1));
}

/** Mean over the predicted tokens of all domains. */
function mean({ heldOut }: DemoRow, value: (measure: HeldOutMeasure) => number): number {
  const measures = Object.values(heldOut);
  const tokens = measures.reduce((sum, measure) => sum + measure.tokens, 0);
  return measures.reduce((sum, measure) => sum + value(measure) * measure.tokens, 0) / tokens;
}

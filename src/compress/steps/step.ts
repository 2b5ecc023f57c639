import { weightFormat } from "../../checkpoint/quantised/formats.js";
import {
  WEIGHT_FORMAT_NAMES,
  type WeightFormat,
  type WeightFormatName,
} from "../../checkpoint/quantised/weight-format.js";
import { ReamError } from "../../errors.js";
import { parseSparsity, type Sparsity } from "../weights/sparsity.js";

export const PRUNERS = ["magnitude", "wanda", "sparsegpt"] as const;
export type Pruner = (typeof PRUNERS)[number];

/** What is done to single weight matrices after the experts have been reduced. */
export type WeightStep =
  | { readonly kind: "prune"; readonly pruner: Pruner; readonly sparsity: Sparsity; readonly text: string }
  | {
      readonly kind: "quantise";
      readonly solver: "nearest" | "gptq";
      readonly format: WeightFormat;
      readonly text: string;
    };

/** Names that stand for a format. */
const ALIASES: Readonly<Record<string, WeightFormatName>> = { int4: "int4-g128" };

/**
 * Reads the steps of `--then`: `magnitude:S`, `wanda:S`, `sparsegpt:S` with S a share ("0.5", "50%") or "2:4"; a weight
 * format ("int8", "int4-g32" ...) for round to nearest, `gptq:FORMAT` for GPTQ. At most one of each kind, pruning first.
 * Errors: OPTION_INVALID.
 */
export function parseSteps(texts: readonly string[]): WeightStep[] {
  const steps = texts.flatMap((text) => text.split(",")).map((text) => parseStep(text.trim()));
  const kinds = steps.map(({ kind }) => kind).join();
  if (!["", "prune", "quantise", "prune,quantise"].includes(kinds)) {
    throw invalid(
      `--then ${texts.join(",")}`,
      "Give one step of pruning, one of quantisation, or one of each in this order.",
    );
  }
  const [pruned, quantised] = steps;
  if (pruned?.kind === "prune" && quantised?.kind === "quantise" && quantised.solver === "gptq") {
    throw invalid(
      `--then ${pruned.text} ${quantised.text}`,
      "GPTQ would fill the zeros again. Take the format without gptq: after pruning.",
    );
  }
  return steps;
}

function parseStep(text: string): WeightStep {
  const [, name = "", rest] = /^([a-z0-9-]+)(?::(.+))?$/.exec(text) ?? [];
  const pruner = PRUNERS.find((known) => known === name);
  if (pruner !== undefined) {
    if (rest === undefined) throw invalid(text, `Say how much of the weights goes: ${name}:0.5 or ${name}:2:4.`);
    return { kind: "prune", pruner, sparsity: parseSparsity(rest), text };
  }
  const solver = name === "gptq" ? "gptq" : "nearest";
  const given = solver === "gptq" ? rest : rest === undefined ? name : undefined;
  const format = WEIGHT_FORMAT_NAMES.find((known) => known === (ALIASES[given ?? ""] ?? given));
  if (format === undefined) {
    const known = [...PRUNERS.map((pruner) => `${pruner}:0.5`), ...WEIGHT_FORMAT_NAMES, "gptq:int4"];
    throw invalid(text, `Steps are ${known.join(", ")}.`);
  }
  const found = weightFormat(format);
  if (solver === "gptq" && found.integers === undefined) {
    throw invalid(text, "GPTQ rounds to integers: int8, int4-channel, int4-g32, int4-g128 and their -asym forms.");
  }
  return { kind: "quantise", solver, format: found, text: solver === "gptq" ? `gptq:${format}` : format };
}

function invalid(found: string, hint: string): ReamError {
  return new ReamError("OPTION_INVALID", `${found} is no step`, { where: "--then", hint });
}

/** What a step has to know of the inputs that a matrix is multiplied with. */
export type Need = "nothing" | "squares" | "gram";

/** The most that any of the steps has to know. */
export function needOf(steps: readonly WeightStep[]): Need {
  const needs = steps.map((step): Need => {
    if (step.kind === "quantise") return step.solver === "gptq" ? "gram" : "nothing";
    return ({ magnitude: "nothing", wanda: "squares", sparsegpt: "gram" } as const)[step.pruner];
  });
  return needs.includes("gram") ? "gram" : needs.includes("squares") ? "squares" : "nothing";
}

export function formatOf(steps: readonly WeightStep[]): WeightFormat | undefined {
  const step = steps.at(-1);
  return step?.kind === "quantise" ? step.format : undefined;
}

export function sparsityOf(steps: readonly WeightStep[]): Sparsity | undefined {
  const step = steps[0];
  return step?.kind === "prune" ? step.sparsity : undefined;
}

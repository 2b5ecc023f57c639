import { readFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { decodeUtf8, parseJson } from "../../checkpoint/json.js";
import { ReamError } from "../../errors.js";
import type { HeldOutMeasure } from "../../evaluate/held-out.js";
import type { Comparison, Evaluation, SubjectResult } from "../../evaluate/run/evaluation.js";
import type { CompressedScores, CompressionReport, HeldOutScores, PairedDifference, Scores } from "../data.js";

/**
 * What `ream evaluate` found of a compressed model. `folder`: that of the evaluation; `model`: that of the checkpoint, by
 * which its label is found where several models were compared, unless `label` names it.
 * Errors: EVALUATION_READ, EVALUATION_LABEL, and those of JSON.
 */
export async function evaluationOf(
  folder: string,
  model: string,
  label: string | undefined,
): Promise<NonNullable<CompressionReport["evaluation"]>> {
  const path = join(folder, "evaluation.json");
  const evaluation = await readEvaluation(path);
  const comparison = chosen(evaluation, model, label, path);
  const subject = (name: string) => evaluation.subjects.find((one) => one.label === name)!;
  const original = subject(comparison.original);
  const counts = new Map(original.tasks.map(({ name, items }) => [name, items]));
  return {
    tasks: comparison.tasks.map(({ name, suite }) => {
      const items = counts.get(name);
      return { name, suite, ...(items !== undefined && { items }) };
    }),
    original: scoresOf(original),
    compressed: { ...scoresOf(subject(comparison.compressed)), ...differencesOf(comparison) },
  };
}

/** Reads `evaluation.json`. Errors: EVALUATION_READ, and those of JSON. */
export async function readEvaluation(path: string): Promise<Evaluation> {
  const bytes = await readFile(path).catch((cause: Error) => {
    throw new ReamError("EVALUATION_READ", `the evaluation cannot be read: ${cause.message}`, {
      where: path,
      hint: "Give the folder that `ream evaluate` has written.",
      cause,
    });
  });
  const value = parseJson(decodeUtf8(bytes, path), path) as Partial<Evaluation>;
  if (value.format === "ream-evaluation/1" && value.comparisons !== undefined) return value as Evaluation;
  throw new ReamError("EVALUATION_READ", "this is no evaluation, or one of another version", { where: path });
}

function chosen(
  { comparisons, options }: Evaluation,
  model: string,
  label: string | undefined,
  path: string,
): Comparison {
  const labels = comparisons.map(({ compressed }) => compressed);
  const named = label ?? labelOf(options, model) ?? (labels.length === 1 ? labels[0] : basename(resolve(model)));
  const found = comparisons.find(({ compressed }) => compressed === named);
  if (found !== undefined) return found;
  const known = labels.length === 0 ? "it compares nothing" : `it compares ${labels.join(", ")} with the original`;
  throw new ReamError("EVALUATION_LABEL", `the evaluation has no ${named}: ${known}`, {
    where: path,
    hint: labels.length === 0 ? "Evaluate the original and the compressed model together." : "Name it with --label.",
  });
}

/** The label under which a folder was evaluated. */
function labelOf({ models }: Evaluation["options"], model: string): string | undefined {
  if (!Array.isArray(models)) return undefined;
  const given = models.map((text: string) => /^([^=/\\]+)=(.+)$/s.exec(text));
  return given.find((match) => match !== null && resolve(match[2]!) === resolve(model))?.[1];
}

function scoresOf({ averages, scores, heldOut }: SubjectResult): Scores {
  const { mc, gen, avg } = averages;
  return {
    ...(mc && { mc: 100 * mc.mean }),
    ...(gen && { gen: 100 * gen.mean }),
    ...(avg && { avg: 100 * avg.mean }),
    tasks: Object.fromEntries(scores.map(({ name, score }) => [name, 100 * score.mean])),
    ...(Object.keys(heldOut).length > 0 && { heldOut: heldOutScores(heldOut) }),
  };
}

function heldOutScores(measured: Readonly<Record<string, HeldOutMeasure>>): Record<string, HeldOutScores> {
  return Object.fromEntries(
    Object.entries(measured).map(([domain, { perplexity, agreement, divergence }]) => [
      domain,
      { perplexity, agreement, divergence },
    ]),
  );
}

function differencesOf({ tasks }: Comparison): Pick<CompressedScores, "differences"> {
  const differences = tasks.map(({ name, difference, test }): [string, PairedDifference] => {
    const [low, high] = difference.interval ?? [];
    return [
      name,
      {
        value: 100 * difference.value,
        ...(low !== undefined && high !== undefined && { interval: [100 * low, 100 * high] as const }),
        ...(test && { p: test.p }),
      },
    ];
  });
  return { differences: Object.fromEntries(differences) };
}

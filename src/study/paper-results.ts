import { z } from "zod";
import { ReamError } from "../errors.js";
import { mean, type Place } from "./analysis/points.js";
import { referencePoint } from "./analysis/reference.js";
import { checkResults, type StudyResults } from "./results.js";

/** Tasks of the paper's tables; of its multiple-choice tasks only the mean was published for each compression. */
const GENERATIVE = ["ifeval", "aime25", "gsm8k", "gpqa_diamond", "humaneval", "livecodebench"] as const;

const scores = z.object({
  experts: z.int(),
  mc: z.number(),
  gen: z.number(),
  ...(Object.fromEntries(GENERATIVE.map((task) => [task, z.number()])) as Record<
    (typeof GENERATIVE)[number],
    z.ZodNumber
  >),
});

const paper = z.object({
  source: z.string(),
  note: z.string().optional(),
  original: scores,
  rows: z.array(scores.extend({ method: z.string(), mix: z.record(z.string(), z.number()) })),
});

/**
 * The published scores of the paper (arXiv 2604.04356, Tables 5 and 6), from the layout of test/goldens/paper/results.json.
 * Shares of a mix stay as they were printed. GEN is the mean of its tasks as printed, which is finer than the printed mean:
 * of two mixes that both have 69.5, one is better. The reference points are those of the printed means.
 * Errors: RESULTS_INVALID.
 */
export function paperResults(json: unknown, where = "results of the paper"): StudyResults {
  const parsed = paper.safeParse(json);
  if (!parsed.success) throw new ReamError("RESULTS_INVALID", z.prettifyError(parsed.error).slice(0, 2000), { where });
  const { source, note, original, rows } = parsed.data;
  return checkResults(
    {
      format: "ream-study-results",
      version: 1,
      title: "REAM: Merging Improves Pruning of Experts in LLMs",
      model: { name: "Qwen3-30B-A3B-Instruct-2507", family: "qwen3_moe", experts: original.experts },
      source,
      ...(note === undefined ? {} : { note }),
      original: scored(original),
      rows: rows.map((row) => ({ method: row.method, experts: row.experts, mix: row.mix, ...scored(row) })),
      references: referencesOf(rows),
    },
    where,
  );
}

function scored(row: z.infer<typeof scores>) {
  const tasks = Object.fromEntries(GENERATIVE.map((task) => [task, { suite: "gen", score: row[task] }]));
  const gen = mean(GENERATIVE.map((task) => row[task]));
  return { mc: row.mc, gen, avg: (row.mc + gen) / 2, tasks };
}

/** By number of experts. Mixes of one domain, which one method alone was tried with, do not count. */
function referencesOf(rows: z.infer<typeof paper>["rows"]): Record<string, Place> {
  const mixed = rows.filter(({ mix }) => Object.values(mix).every((share) => share < 1));
  const counts = [...new Set(mixed.map(({ experts }) => experts))];
  return Object.fromEntries(
    counts.map((experts) => [experts, referencePoint(mixed.filter((row) => row.experts === experts))]),
  );
}

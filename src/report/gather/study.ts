import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { Analysis, MethodAnalysis } from "../../study/analysis/analysis.js";
import type { MixCorrelations } from "../../study/analysis/correlation.js";
import type { Estimate } from "../../study/analysis/estimate.js";
import { type JobResult, jobFolder, readResult } from "../../study/job-folder.js";
import { mixKey } from "../../study/mix.js";
import type { Row, Scored, StudyResults } from "../../study/results.js";
import type {
  Correlations,
  Fact,
  Foretelling,
  Front,
  Grouping,
  Known,
  LayerObservation,
  MethodDifference,
  Scores,
  StudyReport,
  StudyRow,
} from "../data.js";
import { manifestLayer } from "./manifest.js";
import { observedLayers } from "./observation.js";

/** Groups of so many compressions are drawn: each is a picture of every layer. */
const GROUPINGS = 4;

/** Of a job's spec and of `ream.json`: what is read here. */
const planned = z.object({ observed: z.string() });
const manifestPlan = z.object({ plan: z.object({ layers: z.array(manifestLayer) }) });

/** Gathers what the page of a study shows. `out`: its folder, where results alone are not all there is. */
export async function gatherStudy(
  results: StudyResults,
  analysis: Analysis,
  provenance: readonly Fact[],
  out: string | undefined,
): Promise<StudyReport> {
  const made = await Promise.all(
    results.rows.map(({ job }) => (out === undefined || job === undefined ? undefined : readResult(out, job))),
  );
  const rows = results.rows.map((row, i) => rowOf(row, made[i]));
  const tasks = new Map<string, { suite: "mc" | "gen"; items: number | undefined }>();
  for (const scored of [results.original, ...results.rows]) {
    for (const [name, { suite, items }] of Object.entries(scored?.tasks ?? {}))
      if (suite !== undefined) tasks.set(name, { suite, items });
  }
  const observation = out === undefined ? undefined : await observationOf(made, out);
  const groupings = out === undefined ? [] : await groupingsOf(results, analysis, out);
  return {
    title: results.title,
    model: results.model,
    methods: [...new Set(rows.map(({ method }) => method))],
    domains: [...new Set(results.rows.flatMap(({ mix }) => Object.keys(mix)))],
    tasks: [...tasks].map(([name, { suite, items }]) => ({ name, suite, ...(items !== undefined && { items }) })),
    ...(results.original && { original: scoresOf(results.original) }),
    rows,
    fronts: frontsOf(analysis),
    differences: differencesOf(analysis),
    foretellings: foretellingsOf(analysis),
    ...(observation && { observation }),
    ...(groupings.length > 0 && { groupings }),
    provenance: [
      ...(results.source === undefined ? [] : [{ name: "source", value: results.source }]),
      ...(results.note === undefined ? [] : [{ name: "note", value: results.note }]),
      ...provenance,
    ],
  };
}

function scoresOf({ mc, gen, avg, tasks, heldOut }: Scored): Scores {
  const measured = Object.entries(heldOut ?? {}).flatMap(([domain, { perplexity, agreement, kl }]) =>
    perplexity === undefined || agreement === undefined || kl === undefined
      ? []
      : [[domain, { perplexity, agreement, divergence: kl }] as const],
  );
  return {
    ...{ mc, gen, avg },
    tasks: Object.fromEntries(Object.entries(tasks).map(([name, { score }]) => [name, score])),
    ...(measured.length > 0 && { heldOut: Object.fromEntries(measured) }),
  };
}

function rowOf(row: Row, result: JobResult | undefined): StudyRow {
  const { method, experts, mix, seconds, memoryBytes } = row;
  const differences = Object.entries(row.differences ?? {}).map(
    ([name, { points, low, high, p }]) => [name, { value: points, interval: [low, high] as const, p }] as const,
  );
  return {
    ...scoresOf(row),
    ...{ method, experts, mix },
    ...(differences.length > 0 && { differences: Object.fromEntries(differences) }),
    ...(result?.layerErrors && { layerErrors: result.layerErrors.map((error, layer) => ({ layer, error })) }),
    ...(seconds !== undefined && { seconds }),
    ...(memoryBytes !== undefined && { memoryBytes }),
  };
}

/** Indices of rows in place of those of points; of a point with several seeds the first. */
function frontsOf({ ratios }: Analysis): Front[] {
  return ratios.flatMap(({ experts, points, methods }) =>
    methods.map((own: MethodAnalysis): Front => {
      const { method, frontier, hypervolume, optimal, correlations } = own;
      const known = correlationsOf(correlations);
      return {
        method,
        experts,
        frontier: frontier.map((point) => points[point]!.rows[0]!),
        ...(hypervolume && { hypervolume: hypervolume.value }),
        ...(hypervolume?.interval && { interval: hypervolume.interval }),
        ...(optimal.of > 0 && { optimal: [optimal.own, optimal.of] as const }),
        ...(known && { correlations: known }),
      };
    }),
  );
}

function differencesOf({ ratios }: Analysis): MethodDifference[] {
  return ratios.flatMap(({ experts, pairs }) =>
    pairs.map(({ first, second, hypervolume, mean, closed }) => ({
      ...{ experts, first, second, hypervolume: known(hypervolume) },
      ...{ mc: known(mean.mc), gen: known(mean.gen), avg: known(mean.avg) },
      ...(closed.avg && { closed: known(closed.avg) }),
    })),
  );
}

function known({ value, interval }: Estimate): Known {
  return { value, ...(interval && { interval }) };
}

function foretellingsOf({ ratios }: Analysis): Foretelling[] {
  return ratios.flatMap(({ experts, predictors }) =>
    predictors.map(({ measure, domain, quality: { n, pearson, spearman, regret } }) => ({
      ...{ experts, measure, n, regret },
      ...(domain !== undefined && { domain }),
      ...(pearson && { pearson: pearson.r }),
      ...(spearman !== undefined && { spearman }),
    })),
  );
}

/** Pearson's r where both suites have one. */
function correlationsOf({ shares, mcGen }: MixCorrelations): Correlations | undefined {
  if (mcGen === undefined) return undefined;
  const known = Object.entries(shares).flatMap(([domain, { mc, gen }]) =>
    mc === undefined || gen === undefined ? [] : [[domain, { mc: mc.r, gen: gen.r }] as const],
  );
  return { shares: Object.fromEntries(known), mcGen: mcGen.r };
}

/** What the study's first observation saw. */
async function observationOf(
  made: readonly (JobResult | undefined)[],
  out: string,
): Promise<LayerObservation[] | undefined> {
  const observed = made.map((result) => planned.safeParse(result?.spec).data?.observed).find((id) => id !== undefined);
  return observed === undefined ? undefined : observedLayers(join(jobFolder(out, observed), "observation"));
}

/** Groups of each method's best row, at the fewest experts first. */
async function groupingsOf({ rows, model }: StudyResults, { ratios }: Analysis, out: string): Promise<Grouping[]> {
  if (model.experts === undefined) return [];
  const found: Grouping[] = [];
  for (const { points, methods } of [...ratios].reverse()) {
    for (const { best } of methods) {
      const row = best === undefined ? undefined : rows[points[best]!.rows[0]!];
      if (row?.job === undefined || found.length === GROUPINGS) continue;
      const text = await readFile(join(jobFolder(out, row.job), "manifest.json"), "utf8").catch(() => undefined);
      if (text === undefined) continue;
      const { layers } = manifestPlan.parse(JSON.parse(text)).plan;
      found.push({
        title: `${row.method}, ${row.experts} experts, ${mixKey(row.mix)}`,
        experts: model.experts,
        layers,
      });
    }
  }
  return found;
}

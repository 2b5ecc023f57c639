import { access } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { WeightFormatName } from "../checkpoint/quantised/weight-format.js";
import { ReamError } from "../errors.js";
import { plainMean } from "../evaluate/metrics/group.js";
import type { SubjectResult } from "../evaluate/run/evaluation.js";
import type { ResolvedEvaluateOptions } from "../evaluate/run/options.js";
import { subjectsOf } from "../evaluate/run/subject.js";
import { linearWeights } from "../model/linear-weights.js";
import type { OpenedModel } from "../pipeline/open-model.js";
import { readEvaluation } from "../report/gather/evaluation.js";
import { type ReadManifest, readManifest } from "../report/gather/manifest.js";
import { jobFolder } from "../study/job-folder.js";
import { readResults, type Scored } from "../study/results.js";
import type { Candidate } from "./candidates.js";
import { type CandidateRules, candidateOf, type Measurement, type Score, type Scores } from "./measurement.js";
import { sourceCheck } from "./source-check.js";

/** What was measured of a model and of what was made from it, and a line for each result that is of something else. */
export interface Measured {
  readonly measurements: readonly Measurement[];
  readonly notes: readonly string[];
}

/**
 * Reads folders of `ream evaluate` and `ream study`. A result counts for a candidate if the manifest (`ream.json`) of the
 * model that was measured says that it was made from this model; others are told in the notes.
 * Errors: RESULTS_READ, RESULTS_INVALID, EVALUATION_READ, MANIFEST_INVALID, and those of JSON.
 */
export async function readMeasured(
  folders: readonly string[],
  opened: OpenedModel,
  formats: readonly WeightFormatName[],
): Promise<Measured> {
  const reader = new Reader(opened, formats);
  for (const folder of folders) {
    if (await exists(join(folder, "evaluation.json"))) await reader.evaluation(folder);
    else if (await exists(join(folder, "results.json"))) await reader.study(folder);
    else {
      throw new ReamError("RESULTS_READ", "there is neither evaluation.json nor results.json", {
        where: folder,
        hint: "Give folders that `ream evaluate` or `ream study` has written.",
      });
    }
  }
  return reader;
}

class Reader implements Measured {
  readonly measurements: Measurement[] = [];
  readonly notes: string[] = [];
  private readonly original: Candidate;
  private readonly isSource: ReturnType<typeof sourceCheck>;
  private readonly rules: CandidateRules;

  constructor(
    private readonly opened: OpenedModel,
    formats: readonly WeightFormatName[],
  ) {
    const { model } = opened;
    this.original = { experts: model.experts, method: undefined, format: undefined };
    this.isSource = sourceCheck(opened);
    this.rules = { formats, parts: [...new Set(model.layers.flatMap(linearWeights).map(({ part }) => part))] };
  }

  async evaluation(folder: string): Promise<void> {
    const { options, subjects } = await readEvaluation(join(folder, "evaluation.json"));
    const places = subjectsOf(options as ResolvedEvaluateOptions);
    const [first] = places;
    // The divergence of an evaluation is that from its first model.
    const fromOriginal = first?.kind === "local" && this.isOriginal(first.name);
    for (const subject of subjects) {
      const from = `${folder}: ${subject.label}`;
      const scores = scoresOfSubject(subject, fromOriginal);
      const place = places.find(({ label }) => label === subject.label);
      if (place?.kind !== "local") {
        this.notes.push(`${from}: not a model on this machine, so that nothing tells how it was made.`);
        continue;
      }
      if (this.isOriginal(place.name)) {
        this.measurements.push({ candidate: this.original, variant: "", from, ...scores });
        continue;
      }
      const model = await firstWith("ream.json", [resolve(place.name), resolve(dirname(folder), place.name)]);
      if (model === undefined) this.notes.push(`${from}: ${place.name} has no ream.json that tells how it was made.`);
      else await this.add(await readManifest(model), from, scores);
    }
  }

  async study(folder: string): Promise<void> {
    const { rows, original } = await readResults(join(folder, "results.json"));
    const before = this.measurements.length;
    let without = 0;
    for (const row of rows) {
      const from = `${folder}: ${row.method} ${row.experts}${row.job === undefined ? "" : ` (${row.job})`}`;
      const place = row.job === undefined ? folder : jobFolder(folder, row.job);
      const manifest = (await exists(join(place, "manifest.json"))) && (await readManifest(place, "manifest.json"));
      if (manifest) await this.add(manifest, from, scoresOfRow(row));
      else without += 1;
    }
    if (without > 0) this.notes.push(`${folder}: ${without} of ${rows.length} rows have no manifest of their model.`);
    // Results of a study are all of one model.
    if (original !== undefined && this.measurements.length > before)
      this.measurements.push({
        ...{ candidate: this.original, variant: "", from: `${folder}: original` },
        ...scoresOfRow(original),
      });
  }

  private async add(manifest: ReadManifest, from: string, scores: Scores): Promise<void> {
    if (!(await this.isSource(manifest.source.files))) {
      this.notes.push(`${from}: made from other files than ${this.opened.name} (${manifest.source.model}).`);
      return;
    }
    const found = candidateOf(manifest, this.rules);
    if ("reason" in found) this.notes.push(`${from}: no candidate here, because ${found.reason}.`);
    else this.measurements.push({ ...found, from, ...scores });
  }

  private isOriginal(name: string): boolean {
    const { name: own, hubId, folder } = this.opened;
    return name === own || (hubId !== undefined && name === hubId) || resolve(name) === resolve(folder);
  }
}

function scoresOfSubject({ averages, scores, heldOut }: SubjectResult, fromOriginal: boolean): Scores {
  const percent = (mean: { mean: number; standardError: number | undefined } | undefined): Score | undefined =>
    mean && {
      value: 100 * mean.mean,
      standardError: mean.standardError === undefined ? undefined : 100 * mean.standardError,
    };
  return {
    ...{ mc: percent(averages.mc), gen: percent(averages.gen), avg: percent(averages.avg) },
    ...meanKl(fromOriginal ? Object.entries(heldOut).map(([domain, { divergence }]) => [domain, divergence]) : []),
    tasks: taskKey(scores.map(({ name, score }) => [name, score.n])),
  };
}

/** The standard errors of the averages are those that their tasks' make: a study keeps none. */
function scoresOfRow({ mc, gen, avg, tasks, heldOut = {} }: Scored): Scores {
  const errorOf = (suite: "mc" | "gen") => {
    const own = Object.values(tasks).filter((task) => task.suite === suite);
    if (own.length === 0) return undefined;
    return plainMean(own.map(({ score, standardError, items = 1 }) => ({ mean: score, standardError, n: items })))
      .standardError;
  };
  const [mcError, genError] = [errorOf("mc"), errorOf("gen")];
  const avgError = mcError === undefined || genError === undefined ? undefined : Math.hypot(mcError, genError) / 2;
  return {
    mc: { value: mc, standardError: mcError },
    gen: { value: gen, standardError: genError },
    avg: { value: avg, standardError: avgError },
    ...meanKl(Object.entries(heldOut).flatMap(([domain, { kl }]) => (kl === undefined ? [] : [[domain, kl] as const]))),
    tasks: taskKey(Object.entries(tasks).map(([name, { items }]) => [name, items])),
  };
}

function meanKl(domains: readonly (readonly [string, number])[]): Pick<Scores, "kl" | "domains"> {
  const kl = domains.reduce((sum, [, value]) => sum + value, 0) / domains.length;
  const names = domains.map(([name]) => name).sort();
  return { ...(domains.length > 0 && { kl }), domains: names.join(", ") };
}

function taskKey(tasks: readonly (readonly [string, number | undefined])[]): string {
  return tasks
    .map(([name, items]) => (items === undefined ? name : `${name} ${items}`))
    .sort()
    .join(", ");
}

async function firstWith(file: string, folders: readonly string[]): Promise<string | undefined> {
  for (const folder of folders) if (await exists(join(folder, file))) return folder;
  return undefined;
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

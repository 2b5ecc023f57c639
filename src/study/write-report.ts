import { writeTextFile } from "../checkpoint/durable.js";
import type { Fact } from "../report/data.js";
import { gatherStudy } from "../report/gather/study.js";
import { renderStudyReport } from "../report/study-report.js";
import { VERSION } from "../version.js";
import type { Analysis } from "./analysis/analysis.js";
import type { StudyResults } from "./results.js";

/** Writes the page of a study. `out`: its folder, where there is more than results. */
export async function writeStudyReport(
  path: string,
  results: StudyResults,
  analysis: Analysis,
  out: string | undefined,
): Promise<void> {
  const provenance: Fact[] = [
    { name: "ream", value: VERSION },
    { name: "seed of the resamples", value: `${analysis.seed}, ${analysis.resamples} resamples` },
  ];
  await writeTextFile(path, renderStudyReport(await gatherStudy(results, analysis, provenance, out)));
}

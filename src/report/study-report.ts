import type { StudyReport } from "./data.js";
import { html } from "./parts/html.js";
import { page } from "./parts/page.js";
import type { Section } from "./parts/section.js";
import { correlationSection } from "./sections/correlations.js";
import { costSection } from "./sections/cost.js";
import { foretellingSection } from "./sections/foretellings.js";
import { groupSection } from "./sections/groups.js";
import { provenance, studyHead } from "./sections/head.js";
import { heldOutSection } from "./sections/held-out.js";
import { layerErrorSection } from "./sections/layer-errors.js";
import { methodPairSection } from "./sections/method-pairs.js";
import { observationSection } from "./sections/observation.js";
import { paretoSection } from "./sections/pareto.js";
import { taskSection } from "./sections/tasks.js";
import { tradeOffSection } from "./sections/trade-off.js";

/** The page of a study: one HTML file that needs nothing else. Sections without data are left out. */
export function renderStudyReport(data: StudyReport): string {
  return page({
    title: data.title ?? `${data.model.name}, compressed`,
    kind: "Study report",
    lead: studyHead(data),
    sections: [
      paretoSection(data),
      methodPairSection(data),
      tradeOffSection(data),
      correlationSection(data),
      taskSection(data),
      heldOutSection(data),
      foretellingSection(data),
      layerErrorSection(data),
      observationSection(data.observation),
      groupSection(data.groupings ?? []),
      costSection(data),
      provenanceSection(data),
    ].filter((section) => section !== undefined),
  });
}

export function provenanceSection({ provenance: facts }: Pick<StudyReport, "provenance">): Section | undefined {
  if (facts.length === 0) return undefined;
  return { id: "provenance", title: "Provenance", body: html`${provenance(facts)}` };
}

import type { CompressionReport, Scores } from "./data.js";
import { figures } from "./parts/figure.js";
import { html } from "./parts/html.js";
import { fixed, signed } from "./parts/numbers.js";
import { page } from "./parts/page.js";
import type { Section } from "./parts/section.js";
import { seriesAt } from "./parts/series.js";
import { table } from "./parts/table.js";
import { compressionHead, sizeSection } from "./sections/compression-head.js";
import { decisionSection } from "./sections/decisions.js";
import { groupSection } from "./sections/groups.js";
import { heldOutOfModel } from "./sections/held-out.js";
import { layerErrorFigure } from "./sections/layer-errors.js";
import { lossSection } from "./sections/layer-losses.js";
import { observationSection } from "./sections/observation.js";
import { differenceFigure } from "./sections/tasks.js";
import { provenanceSection } from "./study-report.js";

/** The page of one compressed model: one HTML file that needs nothing else. Sections without data are left out. */
export function renderCompressionReport(data: CompressionReport): string {
  const { experts } = data;
  const name = compressionName(data);
  return page({
    title: `${data.model}, ${experts.before} to ${experts.after} experts`,
    kind: "Compression report",
    lead: compressionHead(data),
    sections: [
      sizeSection(data),
      evaluationSection(data, name),
      nearness(data, name),
      lossSection(data.losses),
      observationSection(data.observation),
      decisionSection(data),
      groupSection([
        { title: name, experts: experts.before, layers: data.layers },
        { title: `attention, ${name}`, experts: experts.before, layers: data.attentionLayers ?? [] },
      ]),
      provenanceSection(data),
    ].filter((section) => section !== undefined),
  });
}

function compressionName({ method, experts }: CompressionReport): string {
  return `${method}, ${experts.before} → ${experts.after} experts`;
}

/** What tells how near it is without asking a question: next tokens of held-out text, and outputs of layers. */
function nearness({ evaluation, layerErrors = [] }: CompressionReport, name: string): Section | undefined {
  const heldOut = evaluation && heldOutOfModel(name, evaluation.original, evaluation.compressed);
  const line = { name, series: seriesAt(0), errors: layerErrors };
  const errors = layerErrors.length === 0 ? undefined : layerErrorFigure("layer-errors", name, [line]);
  const drawn = [heldOut, errors].filter((one) => one !== undefined);
  if (drawn.length === 0) return undefined;
  return { id: "nearness", title: "How near it is to the original", body: figures(drawn) };
}

/** The three averages and every task. */
function evaluationSection(data: CompressionReport, name: string): Section | undefined {
  if (data.evaluation === undefined) return undefined;
  const { tasks, original, compressed } = data.evaluation;
  const plot = differenceFigure("differences", name, tasks, original, [
    { name, series: seriesAt(0), scores: compressed },
  ]);
  const averages = (["avg", "mc", "gen"] as const).map((key) => ({
    name: key.toUpperCase(),
    value: (scores: Scores) => scores[key],
  }));
  const lines = [
    ...averages,
    ...tasks.map((task) => ({ name: task.name, value: (scores: Scores) => scores.tasks[task.name] })),
  ].filter(({ value }) => value(compressed) !== undefined);
  if (lines.length === 0) return undefined;
  type Line = (typeof lines)[number];
  const change = ({ value }: Line) => (value(compressed) ?? Number.NaN) - (value(original) ?? Number.NaN);
  const scores = html`<div class="panel"><h3>Scores in per cent</h3>${table<Line>({
    caption: "AVG is the mean of MC and GEN, the means of the multiple-choice and generative tasks.",
    columns: [
      { name: "task", cell: (line) => line.name },
      { name: "original", cell: ({ value }) => fixed(value(original)), number: ({ value }) => value(original) },
      { name: "compressed", cell: ({ value }) => fixed(value(compressed)), number: ({ value }) => value(compressed) },
      { name: "points", cell: (line) => signed(change(line)), number: change },
    ],
    rows: lines,
    strong: (line) => averages.includes(line),
  })}</div>`;
  return { id: "tasks", title: "Task by task", body: figures([scores, ...(plot ? [plot] : [])]) };
}

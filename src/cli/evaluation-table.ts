import type { AverageComparison } from "../evaluate/compare/runs.js";
import type { Mean } from "../evaluate/metrics/mean.js";
import type { Comparison, Evaluation, SubjectResult } from "../evaluate/run/evaluation.js";
import { formatTable } from "../format.js";
import type { Style } from "./style.js";

/** Names of the averages in tables. */
const AVERAGES = { mc: "MC", gen: "GEN", avg: "AVG" } as const;

/** An evaluation for people: scores side by side, then each model against the first. */
export function describeEvaluation(evaluation: Evaluation, { bold, dim }: Style): string {
  const { subjects, comparisons, out } = evaluation;
  const sections = [
    section(bold, scoreRows(subjects)),
    dim("Scores in per cent ± standard error. MC, GEN: means over their tasks; AVG: the mean of the two."),
    ...comparisons.flatMap((comparison) => [
      "",
      section(bold, comparisonRows(comparison)),
      dim(
        "Differences in points, item by item, with 95 % confidence interval; p: McNemar's exact test, in brackets by Holm.",
      ),
      ...probeLines(comparison),
    ]),
    ...heldOutSection(subjects, bold),
    ...protectionLines(subjects),
    "",
    `Every question, answer and verdict is in ${out}/`,
  ];
  return `\n${sections.join("\n")}\n`;
}

function section(bold: Style["bold"], rows: readonly (readonly string[])[]): string {
  const [header, ...body] = formatTable(rows).split("\n");
  return [bold(header!), ...body].join("\n");
}

function scoreRows(subjects: readonly SubjectResult[]): string[][] {
  // Files of answers may leave out items, or all of a task.
  const scores = subjects.flatMap((subject) => subject.scores);
  const names = [...new Set(scores.map(({ name }) => name))];
  const items = (name: string) => new Set(scores.filter((score) => score.name === name).map(({ score }) => score.n));
  const rows = names.map((name) => [
    name,
    [...items(name)].join(", "),
    ...subjects.map(({ scores }) => formatMean(scores.find((score) => score.name === name)?.score)),
  ]);
  const averages = Object.entries(AVERAGES)
    .filter(([key]) => subjects.some((subject) => subject.averages[key as keyof typeof AVERAGES] !== undefined))
    .map(([key, name]) => [name, "", ...subjects.map((one) => formatMean(one.averages[key as keyof typeof AVERAGES]))]);
  return [["task", "items", ...subjects.map(({ label }) => label)], ...rows, ...averages];
}

function formatMean(mean: Mean | undefined): string {
  if (mean === undefined || Number.isNaN(mean.mean)) return "-";
  const error = mean.standardError === undefined ? "" : ` ±${percent(mean.standardError).padStart(4)}`;
  return `${percent(mean.mean)}${error}`;
}

function comparisonRows({ original, compressed, tasks, averages }: Comparison): string[][] {
  const rows = tasks.map(({ name, difference, test, adjustedP, flips }) => [
    name,
    points(difference.value),
    formatInterval(difference.interval),
    test === undefined ? "-" : `${formatP(test.p)} (${formatP(adjustedP ?? test.p)})`,
    `${flips.filter(({ direction }) => direction === "lost").length} / ${flips.filter(({ direction }) => direction === "gained").length}`,
  ]);
  const means = Object.entries(AVERAGES).flatMap(([key, name]) => {
    const average: AverageComparison | undefined = averages[key as keyof typeof AVERAGES];
    return average === undefined
      ? []
      : [[name, points(average.difference.value), formatInterval(average.difference.interval), "", ""]];
  });
  return [[`${compressed} - ${original}`, "points", "95 %", "p", "lost / gained"], ...rows, ...means];
}

function probeLines({ compressed, original, probes }: Comparison): string[] {
  return (probes?.probes ?? [])
    .filter(({ warning }) => warning)
    .map(
      (count) =>
        `warning: ${compressed} has more answers that are ${PROBE_NAMES[count.probe]}: ${count.compressed} of ${probes!.items}, ${original} ${count.original}`,
    );
}

const PROBE_NAMES = {
  loop: "loops",
  empty: "empty",
  short: "much shorter than the other's",
  cut: "cut off at the token limit",
  unclosed: "thinking without an end",
  script: "in another script",
  broken: "broken text",
} as const;

function heldOutSection(subjects: readonly SubjectResult[], bold: Style["bold"]): string[] {
  const domains = [...new Set(subjects.flatMap(({ heldOut }) => Object.keys(heldOut)))];
  if (domains.length === 0) return [];
  const cells = ({ heldOut }: SubjectResult) =>
    domains.flatMap((domain) => {
      const measure = heldOut[domain];
      if (measure === undefined) return ["-", "-", "-"];
      return [measure.perplexity.toFixed(2), `${percent(measure.agreement)} %`, measure.divergence.toFixed(3)];
    });
  const header = ["held-out text", ...domains.flatMap((domain) => [`${domain}: perplexity`, "same token", "KL"])];
  return ["", section(bold, [header, ...subjects.map((subject) => [subject.label, ...cells(subject)])])];
}

/** Only what a reader has to know: code that ran without being shut in. */
function protectionLines(subjects: readonly SubjectResult[]): string[] {
  return subjects.flatMap(({ label, tasks }) =>
    tasks
      .filter(({ protection }) => protection?.some((one) => (one as { kind?: string }).kind === "none"))
      .map(({ name }) => `warning: ${label}, ${name}: generated code ran without protection (--unsafe-code)`),
  );
}

function percent(share: number): string {
  return (100 * share).toFixed(1);
}

function points(difference: number): string {
  const text = percent(difference);
  // What is shown as zero has no sign.
  if (Number(text) === 0) return percent(0);
  return difference > 0 ? `+${text}` : text;
}

function formatInterval(interval: readonly [number, number] | undefined): string {
  if (interval === undefined) return "-";
  // No score changes by more than all of it, whatever the normal approximation says.
  const [low, high] = [Math.max(-1, interval[0]), Math.min(1, interval[1])];
  return `${points(low)} to ${points(high)}`;
}

function formatP(p: number): string {
  return p < 0.001 ? "<0.001" : p.toFixed(3);
}

import type { Fact, StudyReport } from "../data.js";
import { type Html, html } from "../parts/html.js";
import { fixed, interval, signed } from "../parts/numbers.js";
import { counted, listed } from "../parts/words.js";
import { best, mixName, ratioName, ratios, rowsAt } from "../study-rows.js";

/** What a reader should know first: key figures and a summary in plain words. */
export function studyHead(data: StudyReport): Html {
  const shown = ratios(data);
  return html`${tiles(data, shown)}
<div class="summary"><p>${compared(data, shown)}</p>${shown.map((experts) => html`<p>${ratioSummary(data, experts)}</p>`)}</div>
<p>MC and GEN are the means of the multiple-choice and of the generative tasks, AVG is the mean of the two, all in per cent.
A mix is written as the shares of ${listed(data.domains)} in the calibration text.</p>`;
}

function tiles(data: StudyReport, shown: readonly number[]): Html {
  const entries = shown.flatMap((experts) => {
    const row = best(rowsAt(data, experts), ({ avg }) => avg);
    if (row === undefined) return [];
    const note = `${row.method}, mix ${mixName(row, data.domains)}`;
    return [tile(`Best AVG, ${ratioName(data, experts)}`, fixed(row.avg), note)];
  });
  const original = data.original?.avg === undefined ? [] : [tile("AVG of the original", fixed(data.original.avg), "")];
  return html`<dl class="tiles">${original}${entries}${tile(
    "Compressed models",
    String(data.rows.length),
    `${counted(data.methods.length, "method")}, ${counted(shown.length, "ratio")}`,
  )}</dl>`;
}

export function tile(name: string, value: string, note: string): Html {
  const more = note === "" ? undefined : html`<dd class="note">${note}</dd>`;
  return html`<div><dt>${name}</dt><dd class="value">${value}</dd>${more}</div>`;
}

function compared(data: StudyReport, shown: readonly number[]): string {
  const { rows, methods, tasks, model } = data;
  const mixes = new Set(rows.map((row) => mixName(row, data.domains))).size;
  const from = model.experts === undefined ? "" : ` from ${model.experts}`;
  return (
    `${model.name} was compressed${from} to ${listed(shown.map(String))} experts in every layer by ` +
    `${counted(methods.length, "method")} (${listed(methods)}) with ${counted(mixes, "calibration mix", "calibration mixes")}. ` +
    `The ${counted(rows.length, "model")} answered ${counted(tasks.length, "task")}.`
  );
}

function ratioSummary(data: StudyReport, experts: number): Html {
  const sentences = [bestAverage(data, experts), bestGenerative(data, experts), largestHypervolume(data, experts)];
  return html`<strong>${ratioName(data, experts)}.</strong> ${sentences.filter((one) => one !== undefined).join(" ")}`;
}

function bestAverage(data: StudyReport, experts: number): string | undefined {
  const row = best(rowsAt(data, experts), ({ avg }) => avg);
  if (row?.avg === undefined) return undefined;
  const before = data.original?.avg;
  const lost = before === undefined ? "" : `, ${against(row.avg - before)} the original's ${fixed(before)}`;
  return `The best average is ${fixed(row.avg)}${lost}: ${row.method} with the mix ${mixName(row, data.domains)}.`;
}

function against(change: number): string {
  const points = fixed(Math.abs(change));
  if (Number(points) === 0) return "the same as";
  return `${points} points ${change < 0 ? "below" : "above"}`;
}

/** Points of MC that a model may lose and still count as having kept it. */
const KEPT_MC = 2;

function bestGenerative(data: StudyReport, experts: number): string | undefined {
  const before = data.original?.mc;
  if (before === undefined) return undefined;
  const kept = rowsAt(data, experts).filter(({ mc }) => mc !== undefined && mc >= before - KEPT_MC);
  const row = best(kept, ({ gen }) => gen);
  if (row === undefined) return `No model stays within ${KEPT_MC} points of the original's MC of ${fixed(before)}.`;
  const among =
    kept.length === 1
      ? `One model loses at most ${KEPT_MC} points of MC; its GEN is`
      : `Of the ${kept.length} models that lose at most ${KEPT_MC} points of MC, the best GEN is`;
  return `${among} ${fixed(row.gen)}: ${row.method} with the mix ${mixName(row, data.domains)}.`;
}

function largestHypervolume({ fronts, differences = [] }: StudyReport, experts: number): string | undefined {
  const ranked = fronts
    .filter((front) => front.experts === experts && front.hypervolume !== undefined)
    .sort((a, b) => b.hypervolume! - a.hypervolume!);
  const [first, second] = ranked;
  if (first === undefined || second === undefined) return undefined;
  const start = `${first.method} has the largest hypervolume, ${fixed(first.hypervolume, 0)}, followed by ${second.method} with ${fixed(second.hypervolume, 0)}`;
  const pair = differences.find(
    (one) => one.experts === experts && [first, second].every(({ method }) => [one.first, one.second].includes(method)),
  );
  const paired = pair?.hypervolume.interval;
  if (paired !== undefined) {
    const [low, high] = pair?.first === first.method ? paired : [-paired[1], -paired[0]];
    const between = `the difference lies between ${signed(low, 0)} and ${signed(high, 0)} (95\u00a0%)`;
    return `${start}; ${between}${low <= 0 ? ", so that the order may be chance" : ""}.`;
  }
  if (first.interval === undefined || second.interval === undefined) {
    return `${start}; without intervals it is open whether that order is chance.`;
  }
  const whole = (value: number) => fixed(value, 0);
  const both = `${interval(first.interval, whole)} and ${interval(second.interval, whole)}`;
  return first.interval[0] <= second.interval[1]
    ? `${start}; their 95\u00a0% intervals (${both}) overlap, so that the order may be chance.`
    : `${start}; their 95\u00a0% intervals (${both}) do not overlap.`;
}

/** Where the numbers come from. */
export function provenance(facts: readonly Fact[]): Html {
  return html`<dl class="facts">${facts.map(({ name, value }) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
}

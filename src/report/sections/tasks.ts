import type { CompressedScores, PairedDifference, ReportTask, Scores, StudyReport } from "../data.js";
import { type Figure, figure, figures } from "../parts/figure.js";
import { type Html, html } from "../parts/html.js";
import { fixed, interval, probability, signed } from "../parts/numbers.js";
import { drawPlot, Plot, type PlotSize } from "../parts/plot.js";
import { commonRange, rangeBar } from "../parts/range-bar.js";
import type { Section } from "../parts/section.js";
import { legend, type Series, seriesAt, symbolSvg } from "../parts/series.js";
import { type Column, table } from "../parts/table.js";
import { axis } from "../parts/ticks.js";
import { counted, shortened } from "../parts/words.js";
import { bestOfMethods, differenceOf, mixName, overall, ratioName, ratios, rowName, rowsAt } from "../study-rows.js";

/** A compressed model with how it is named and drawn. */
export interface Shown {
  readonly name: string;
  readonly series: Series;
  readonly scores: CompressedScores;
}

interface TaskLine {
  readonly task: ReportTask;
  readonly shown: Shown;
  readonly difference: PairedDifference | undefined;
}

/** Scores of every task and their differences to the original. */
export function taskSection(data: StudyReport): Section | undefined {
  if (data.tasks.length === 0 || data.rows.length === 0) return undefined;
  const shown = ratios(data);
  const ofMethods = (experts: number): readonly Shown[] =>
    bestOfMethods(data, experts).map((row) => ({
      name: rowName(row, data.domains),
      series: seriesAt(data.methods.indexOf(row.method)),
      scores: row,
    }));
  return {
    id: "tasks",
    title: "Task by task",
    body: html`<p>Of every method the mix with the best average. Differences are compressed minus original, in points.</p>
${figures(shown.flatMap((experts) => differenceFigure(`differences-${experts}`, ratioName(data, experts), data.tasks, data.original, ofMethods(experts)) ?? []))}
${shown.map((experts) => scoreTable(data, experts))}`,
  };
}

/** Differences of every task with their intervals, as a plot and a table. */
export function differenceFigure(
  id: string,
  name: string,
  tasks: readonly ReportTask[],
  original: Scores | undefined,
  shown: readonly Shown[],
): Html | undefined {
  const lines = tasks.flatMap((task) =>
    shown.map((one): TaskLine => ({ task, shown: one, difference: differenceOf(one.scores, task.name, original) })),
  );
  const known = lines.filter(({ difference }) => difference !== undefined);
  if (known.length === 0) return undefined;
  const measured = known.some(({ difference }) => difference?.interval);
  const options: Figure = {
    id,
    title: `Differences to the original, ${name}`,
    description: measured
      ? "Points lost or gained on the same items, with 95 % intervals. Where an interval crosses the line at 0, the task does not tell the two models apart."
      : "Points lost or gained. No intervals were computed: small differences may be chance.",
    legend: legend(shown),
    draw: (size) => drawDifferences(tasks, shown, known, size),
    table: differenceTable(name, original, lines),
  };
  return figure(options);
}

function drawDifferences(
  tasks: readonly ReportTask[],
  shown: readonly Shown[],
  lines: readonly TaskLine[],
  { width }: PlotSize,
): Html {
  const place = ({ task }: TaskLine) => tasks.indexOf(task);
  const y = (line: TaskLine) => shown.indexOf(line.shown);
  const title = ({ task, shown, difference }: TaskLine) =>
    [
      `${task.name}: ${shown.name}`,
      `${signed(difference?.value)} points${difference?.interval ? `, 95 % ${interval(difference.interval)}` : ""}`,
      ...(difference?.p === undefined ? [] : [`p ${probability(difference.p)}`]),
    ].join("\n");
  return drawPlot({
    width,
    height: tasks.length * (13 * shown.length + 27) + 44,
    marginLeft: 16,
    marginRight: 16,
    marginTop: 4,
    marginBottom: 40,
    fy: { type: "band", domain: tasks.map((_, i) => i), axis: null, paddingInner: 0.04 },
    y: { type: "linear", domain: [shown.length - 0.4, -1.9], axis: null },
    x: axis("points against the original", { ticks: 6 }),
    color: { type: "identity" },
    marks: [
      Plot.ruleX([0], { stroke: "var(--muted)" }),
      ...shown.flatMap((one) => {
        const own = lines.filter((line) => line.shown === one);
        const { colour, symbol } = one.series;
        const range = (end: 0 | 1) => (line: TaskLine) => line.difference?.interval?.[end] ?? line.difference?.value;
        return [
          Plot.link(own, { fy: place, x1: range(0), x2: range(1), y1: y, y2: y, stroke: colour, strokeWidth: 2 }),
          Plot.dot(own, {
            fy: place,
            x: ({ difference }) => difference?.value,
            y,
            r: 4.5,
            symbol,
            fill: colour,
            title,
          }),
        ];
      }),
      Plot.text(tasks, {
        fy: (_, i) => i,
        frameAnchor: "top-left",
        dx: -12,
        dy: 4,
        fontWeight: 600,
        text: ({ name }: ReportTask) => shortened(name, 40),
        stroke: "var(--panel)",
        strokeWidth: 4,
        fill: "currentColor",
      }),
    ],
  });
}

function differenceTable(name: string, original: Scores | undefined, lines: readonly TaskLine[]): Html {
  const score = ({ shown, task }: TaskLine) => shown.scores.tasks[task.name];
  const before = ({ task }: TaskLine) => original?.tasks[task.name];
  const columns: Column<TaskLine>[] = [
    { name: "task", cell: ({ task }) => task.name },
    { name: "model", cell: ({ shown }) => [symbolSvg(shown.series), shown.name] },
    { name: "original", cell: (line) => fixed(before(line)), number: before },
    { name: "compressed", cell: (line) => fixed(score(line)), number: score },
    ...differenceColumns(lines, ({ difference }) => difference),
  ];
  return table({ caption: `Differences to the original, ${name}`, columns, rows: lines });
}

/** Points, interval and p, where any of the rows has one. */
function differenceColumns<Row>(
  rows: readonly Row[],
  difference: (row: Row) => PairedDifference | undefined,
): Column<Row>[] {
  const all = rows.flatMap((row) => difference(row) ?? []);
  const range = commonRange(all);
  const columns: Column<Row>[] = [
    { name: "points", cell: (row) => signed(difference(row)?.value), number: (row) => difference(row)?.value },
    {
      name: "around 0",
      cell: (row) => {
        const found = difference(row);
        return found && rangeBar(found.value, found.interval, range);
      },
    },
  ];
  if (all.some((one) => one.interval)) {
    columns.push({ name: "95 % interval", cell: (row) => interval(difference(row)?.interval) });
  }
  if (all.some(({ p }) => p !== undefined)) {
    const p = (row: Row) => difference(row)?.p;
    columns.push({ name: "p", cell: (row) => probability(p(row)), number: p });
  }
  return columns;
}

/** All models of a ratio with all scores; and every task's differences, folded away. */
function scoreTable(data: StudyReport, experts: number): Html {
  const rows = [...rowsAt(data, experts)].sort((a, b) => (overall(b) ?? 0) - (overall(a) ?? 0));
  type Row = Scores & { readonly method?: string; readonly mix?: Readonly<Record<string, number>> };
  const score = (name: string, value: (row: Row) => number | undefined): Column<Row> => ({
    name,
    cell: (row) => fixed(value(row)),
    number: value,
  });
  const all: Row[] = [...(data.original ? [data.original] : []), ...rows];
  const scores = table<Row>({
    caption: `Scores in per cent, ${ratioName(data, experts)}, best average first`,
    columns: [
      {
        name: "method",
        cell: ({ method }) =>
          method === undefined ? "original" : [symbolSvg(seriesAt(data.methods.indexOf(method))), method],
      },
      {
        name: `mix (${data.domains.join(" / ")})`,
        cell: ({ mix }) => mix && mixName({ mix } as (typeof rows)[number], data.domains),
      },
      score("AVG", ({ avg }) => avg),
      score("MC", ({ mc }) => mc),
      score("GEN", ({ gen }) => gen),
      ...data.tasks.map(({ name }) => score(name, ({ tasks }) => tasks[name])),
    ],
    rows: all,
    strong: (row) => row === data.original,
  });
  return html`<div class="panel"><h3>All scores, ${ratioName(data, experts)}</h3>
<details><summary>Scores of ${counted(rows.length, "model")}</summary>${scores}</details>
${data.tasks.map((task) => taskDetails(data, task, rows))}</div>`;
}

function taskDetails(data: StudyReport, task: ReportTask, rows: StudyReport["rows"]): Html | undefined {
  const lines = rows.flatMap((row) => {
    const difference = row.differences?.[task.name];
    return difference === undefined ? [] : [{ row, difference }];
  });
  if (lines.length === 0) return undefined;
  const items = task.items === undefined ? "" : `, ${counted(task.items, "item")}`;
  return html`<details><summary>Differences in ${task.name}${items}</summary>${table({
    caption: `${task.name}: differences to the original`,
    columns: [
      {
        name: "method",
        cell: ({ row }) => [symbolSvg(seriesAt(data.methods.indexOf(row.method))), row.method],
      },
      { name: "mix", cell: ({ row }) => mixName(row, data.domains) },
      {
        name: "compressed",
        cell: ({ row }) => fixed(row.tasks[task.name]),
        number: ({ row }) => row.tasks[task.name],
      },
      ...differenceColumns(lines, ({ difference }) => difference),
    ],
    rows: lines,
  })}</details>`;
}

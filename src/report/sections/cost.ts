import { formatBytes, formatDuration } from "../../format.js";
import type { StudyReport, StudyRow } from "../data.js";
import { figure, figures } from "../parts/figure.js";
import type { Html } from "../parts/html.js";
import { drawPlot, Plot, type PlotSize } from "../parts/plot.js";
import type { Section } from "../parts/section.js";
import { methodLegend, seriesAt, symbolSvg } from "../parts/series.js";
import { table } from "../parts/table.js";
import { axis, rangeOf } from "../parts/ticks.js";
import { mixName, rowName } from "../study-rows.js";

type Job = StudyRow & { readonly seconds: number };

/** What each compression took. */
export function costSection(data: StudyReport): Section | undefined {
  const jobs = data.rows.flatMap((row): Job[] => (row.seconds === undefined ? [] : [{ ...row, seconds: row.seconds }]));
  if (jobs.length === 0) return undefined;
  const shown = new Set(jobs.map(({ method }) => method));
  return {
    id: "cost",
    title: "Time and memory",
    body: figures([
      figure({
        id: "cost-plot",
        title: "Time and memory of each compression",
        description: "Further left is faster, further down needs less memory.",
        legend: methodLegend(data.methods, shown, false),
        draw: (size) => drawJobs(data, jobs, size),
        table: table({
          caption: "Time and memory of each compression",
          columns: [
            { name: "method", cell: ({ method }) => [symbolSvg(seriesAt(data.methods.indexOf(method))), method] },
            { name: "experts", cell: ({ experts }) => experts, number: ({ experts }) => experts },
            { name: "mix", cell: (job) => mixName(job, data.domains) },
            { name: "time", cell: ({ seconds }) => formatDuration(seconds), number: ({ seconds }) => seconds },
            { name: "memory", cell: (job) => memoryOf(job), number: ({ memoryBytes }) => memoryBytes },
          ],
          rows: jobs,
        }),
      }),
    ]),
  };
}

function memoryOf({ memoryBytes }: StudyRow): string {
  return memoryBytes === undefined ? "–" : formatBytes(memoryBytes);
}

function drawJobs(data: StudyReport, jobs: readonly Job[], { width, narrow }: PlotSize): Html {
  const [name, unit] = durationUnit(Math.max(...jobs.map(({ seconds }) => seconds)));
  const known = jobs.some(({ memoryBytes }) => memoryBytes !== undefined);
  const title = (job: Job) =>
    `${rowName(job, data.domains)}, ${job.experts} experts\n${formatDuration(job.seconds)}, ${memoryOf(job)}`;
  return drawPlot({
    width,
    height: narrow ? 280 : 320,
    marginLeft: 46,
    marginBottom: 42,
    marginTop: 26,
    marginRight: 12,
    inset: 8,
    x: axis(`time, ${name}`, { ticks: 6, domain: rangeOf(jobs.map(({ seconds }) => seconds / unit)) }),
    y: axis(known ? "memory, GB" : null, {
      ticks: known ? 5 : 0,
      domain: rangeOf(jobs.map(({ memoryBytes = 0 }) => memoryBytes / 1e9)),
    }),
    marks: data.methods.map((method, i) => {
      const { colour, symbol } = seriesAt(i);
      return Plot.dot(
        jobs.filter((job) => job.method === method),
        {
          x: ({ seconds }: Job) => seconds / unit,
          y: ({ memoryBytes = 0 }: Job) => memoryBytes / 1e9,
          r: 4.5,
          symbol,
          fill: colour,
          fillOpacity: 0.45,
          stroke: colour,
          strokeWidth: 1.25,
          title,
        },
      );
    }),
  });
}

function durationUnit(seconds: number): readonly [name: string, seconds: number] {
  if (seconds < 180) return ["seconds", 1];
  return seconds < 3 * 3600 ? ["minutes", 60] : ["hours", 3600];
}

import type { Known, MethodDifference, StudyReport } from "../data.js";
import { figures } from "../parts/figure.js";
import { type Html, html } from "../parts/html.js";
import { fixed, interval, percent, signed } from "../parts/numbers.js";
import type { Section } from "../parts/section.js";
import { table } from "../parts/table.js";
import { ratioName, ratios } from "../study-rows.js";

/** Every method against those before it. */
export function methodPairSection(data: StudyReport): Section | undefined {
  const all = data.differences ?? [];
  const panels = ratios(data).flatMap((experts) => {
    const own = all.filter((one) => one.experts === experts);
    return own.length === 0 ? [] : [panel(ratioName(data, experts), own)];
  });
  if (panels.length === 0) return undefined;
  return {
    id: "method-pairs",
    title: "Methods against one another",
    body: html`<p>How much more a method scores than another, in points of the means over the mixes that all were tried with. Intervals
are of 95 % and over items that both answered: one that holds 0 says that the difference may be chance. The gap closed is the share of
what the other method loses of the original's AVG that this one does not lose.</p>${figures(panels)}`,
  };
}

function panel(name: string, pairs: readonly MethodDifference[]): Html {
  const closes = pairs.some(({ closed }) => closed !== undefined);
  return html`<div class="panel"><h3>${name}</h3>${table<MethodDifference>({
    caption: `Differences of every two methods, ${name}`,
    columns: [
      { name: "method", cell: ({ second }) => second },
      { name: "against", cell: ({ first }) => first },
      ...(["avg", "mc", "gen"] as const).map((score) => ({
        name: score.toUpperCase(),
        cell: (pair: MethodDifference) => turned(pair[score], signed),
        number: (pair: MethodDifference) => -pair[score].value,
      })),
      {
        name: "hypervolume",
        cell: ({ hypervolume }) => turned(hypervolume, (value) => signed(value, 0)),
        number: ({ hypervolume }) => -hypervolume.value,
      },
      ...(closes
        ? [
            {
              name: "gap closed",
              cell: ({ closed }: MethodDifference) => (closed === undefined ? "–" : gap(closed)),
              number: ({ closed }: MethodDifference) => closed?.value,
            },
          ]
        : []),
    ],
    rows: pairs,
  })}</div>`;
}

/** Second less first, where the data say first less second. */
function turned({ value, interval: ends }: Known, write: (value: number) => string): string {
  const told = write(-value);
  return ends === undefined ? told : `${told} (${interval([-ends[1], -ends[0]], write)})`;
}

function gap({ value, interval: ends }: Known): string {
  const told = percent(value, 0);
  return ends === undefined ? told : `${told} (${interval(ends, (share) => fixed(100 * share, 0))})`;
}

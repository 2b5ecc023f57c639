import type { Foretelling, StudyReport } from "../data.js";
import { figures } from "../parts/figure.js";
import { type Html, html } from "../parts/html.js";
import { fixed } from "../parts/numbers.js";
import type { Section } from "../parts/section.js";
import { table } from "../parts/table.js";
import { ratioName, ratios } from "../study-rows.js";

const NAMES = {
  kl: "KL",
  agreement: "same token",
  perplexity: "perplexity",
  rank: "rank",
} as const;

/** How well measures that need no answers order the models. */
export function foretellingSection(data: StudyReport): Section | undefined {
  const all = data.foretellings ?? [];
  const panels = ratios(data).flatMap((experts) => {
    const lines = all.filter((line) => line.experts === experts);
    return lines.length === 0 ? [] : [panel(ratioName(data, experts), lines)];
  });
  if (panels.length === 0) return undefined;
  return {
    id: "foretelling",
    title: "What held-out text foretells",
    body: html`<p>How well a measure that takes seconds orders the models by AVG: r is Pearson's, rho Spearman's correlation. The regret is by how many
points the model that it puts first scores below the best. KL and perplexity count as better when they are lower; rank is the numerical rank
of the last hidden states.</p>${figures(panels)}`,
  };
}

function panel(name: string, lines: readonly Foretelling[]): Html {
  return html`<div class="panel"><h3>${name}</h3>${table<Foretelling>({
    caption: `Measures on held-out text against AVG, ${lines[0]!.n} models, ${name}`,
    columns: [
      { name: "measure", cell: ({ measure }) => NAMES[measure] },
      { name: "of", cell: ({ measure, domain }) => domain ?? (measure === "rank" ? "all text" : "mean") },
      { name: "r", cell: ({ pearson }) => fixed(pearson, 2), number: ({ pearson }) => pearson },
      { name: "rho", cell: ({ spearman }) => fixed(spearman, 2), number: ({ spearman }) => spearman },
      { name: "regret", cell: ({ regret }) => fixed(regret), number: ({ regret }) => regret },
    ],
    rows: lines,
  })}</div>`;
}

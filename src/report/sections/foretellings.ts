import type { Foretelling, StudyReport } from "../data.js";
import { figures } from "../parts/figure.js";
import { type Html, html } from "../parts/html.js";
import { fixed } from "../parts/numbers.js";
import type { Section } from "../parts/section.js";
import { table } from "../parts/table.js";
import { ratioName, ratios } from "../study-rows.js";

const NAMES = {
  kl: "KL divergence",
  agreement: "same next token",
  perplexity: "perplexity",
  rank: "numerical rank of the last hidden states",
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
    body: html`<p>How well a measure that takes seconds orders the models by AVG: 1 is the same order, 0 none. The regret is by how many
points the model that it puts first scores below the best.</p>${figures(panels)}`,
  };
}

function panel(name: string, lines: readonly Foretelling[]): Html {
  return html`<div class="panel"><h3>${name}</h3>${table<Foretelling>({
    caption: `Measures on held-out text against AVG, ${lines[0]!.n} models, ${name}`,
    columns: [
      { name: "measure", cell: ({ measure }) => NAMES[measure] },
      { name: "of", cell: ({ measure, domain }) => domain ?? (measure === "rank" ? "all text" : "mean of domains") },
      { name: "Pearson", cell: ({ pearson }) => fixed(pearson, 2), number: ({ pearson }) => pearson },
      { name: "Spearman", cell: ({ spearman }) => fixed(spearman, 2), number: ({ spearman }) => spearman },
      { name: "regret", cell: ({ regret }) => fixed(regret), number: ({ regret }) => regret },
    ],
    rows: lines,
  })}</div>`;
}

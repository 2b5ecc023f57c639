import type { LayerObservation } from "../data.js";
import { figures } from "../parts/figure.js";
import { html } from "../parts/html.js";
import type { Section } from "../parts/section.js";
import { saliencyFigure } from "./saliency.js";
import { usageFigure } from "./usage.js";

/** What the experts of the original model do: how much each adds, and for which domain. */
export function observationSection(observation: readonly LayerObservation[] = []): Section | undefined {
  const drawn = [saliencyFigure(observation), usageFigure(observation)].filter((one) => one !== undefined);
  if (drawn.length === 0) return undefined;
  return {
    id: "experts",
    title: "What the experts do",
    body: html`<p>Of the original model, on the calibration text.</p>${figures(drawn)}`,
  };
}

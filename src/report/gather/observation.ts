import { saliencyOf } from "../../compress/saliency.js";
import { resolveSettings } from "../../compress/settings.js";
import { Observation } from "../../observe/observation.js";
import type { LayerObservation } from "../data.js";

/**
 * What an observation saw of all its text, layer by layer: each expert's saliency (REAP), and each domain's use of it.
 * Errors: those of opening an observation.
 */
export async function observedLayers(folder: string): Promise<LayerObservation[]> {
  const observation = await Observation.open(folder);
  const { layers, domains } = observation.manifest;
  const all = observation.mix(undefined);
  return Promise.all(
    layers.map(async (layer): Promise<LayerObservation> => {
      const used = Object.keys(domains).map(
        async (domain) => [domain, sharesOf((await observation.sums(layer, observation.mix(domain))).weight)] as const,
      );
      const saliency = saliencyOf(await observation.sums(layer, all), resolveSettings("reap"));
      return { layer, saliency: Array.from(saliency), usage: Object.fromEntries(await Promise.all(used)) };
    }),
  );
}

function sharesOf(weight: Float64Array): number[] {
  const total = weight.reduce((sum, value) => sum + value, 0);
  return Array.from(weight, (value) => (total === 0 ? 0 : value / total));
}

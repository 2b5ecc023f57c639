import type { MoeLayer } from "../../model/description.js";
import { routerWeights } from "../../model/moe.js";
import { route } from "../../model/router.js";
import type { ExpertInputs } from "../steps/expert-steps.js";
import { RoutedRows } from "../steps/routed-rows.js";
import type { LayerWork } from "./layer-work.js";
import type { ReducedLayer } from "./reduced-layer.js";

/** Which tokens the reduced router sends to each kept expert. */
export async function tokensOfExperts(
  { options, hidden, moeInput }: LayerWork,
  { feedForward }: Pick<MoeLayer, "feedForward">,
  reduced: ReducedLayer,
): Promise<ExpertInputs> {
  const { backend, batches } = options;
  const router = routerWeights(backend, await reduced.router());
  const tokens = batches.map(({ ids }) => ids.length);
  const rows = new RoutedRows(reduced.plan.keptExperts.length, hidden, tokens);
  try {
    for (const [index, { mask }] of batches.entries())
      rows.add(index, route(backend, moeInput(hidden.get(index)).router, router, feedForward.router), mask);
  } finally {
    router.weight.dispose();
  }
  return { rows, moeInput };
}

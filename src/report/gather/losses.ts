import type { LossLine } from "../data.js";
import type { ReadManifest } from "./manifest.js";

type Loss = NonNullable<NonNullable<ReadManifest["reconstruct"]>["layers"][number]["before"]>;

/** What layers lose on held-out calibration text before and after their merges were guarded and their experts refitted. */
export function lossLines({ plan, reconstruct }: ReadManifest): LossLine[] {
  const guarded = (key: "merged" | "pruned" | "after") =>
    plan.layers.map(({ layer, guard }) => [layer, guard?.[key]] as const);
  const refitted = reconstruct?.layers ?? [];
  // What a guard left is what a refit starts from.
  const started = plan.layers.some(({ guard }) => guard !== undefined) ? [] : refitted;
  return [
    line("all groups merged", guarded("merged")),
    line("centroids alone", guarded("pruned")),
    line("guarded", guarded("after")),
    line(
      "before the refit",
      started.map(({ layer, before }) => [layer, before]),
    ),
    line(
      "refitted",
      refitted.map(({ layer, before, after }) => [layer, after ?? before]),
    ),
  ].filter(({ errors }) => errors.length > 0);
}

function line(name: string, layers: readonly (readonly [layer: number, loss: Loss | undefined])[]): LossLine {
  const known = layers.flatMap(([layer, loss]) => (loss === undefined ? [] : [{ layer, loss }]));
  const domains = new Map<string, number[]>();
  for (const { loss } of known) {
    for (const [domain, share] of Object.entries(loss.domains)) {
      const own = domains.get(domain) ?? [];
      own.push(share);
      domains.set(domain, own);
    }
  }
  const means = [...domains].map(([domain, shares]) => [domain, shares.reduce((a, b) => a + b, 0) / shares.length]);
  return {
    name,
    errors: known.map(({ layer, loss }) => ({ layer, error: loss.heldOut })),
    domains: Object.fromEntries(means),
  };
}

import type { Plan } from "../compress/plan.js";
import { relative } from "../compress/reconstruct/refit.js";
import type { RefitWork } from "./reconstruct/open-refit.js";
import type { LayerRefit } from "./reconstruct/refit-files.js";
import type { RefitPlan } from "./reconstruct/refit-plan.js";

/** What was refitted, and what came of it in each layer. */
export interface Refits {
  readonly plan: RefitPlan;
  readonly layers: readonly LayerRefit[];
}

/** What refits did to every layer of a plan, all of them done. */
export async function allRefits({ layers }: Pick<Plan, "layers">, { plan, files }: RefitWork): Promise<Refits> {
  return { plan, layers: await Promise.all(layers.map(({ layer }) => files.report(layer))) };
}

/** Shares of a layer's squared held-out outputs that are lost; absent where nobody looked. */
export interface LayerLosses {
  readonly layer: number;
  /** Of its merges: those that were kept, of how many. */
  readonly merges?: { readonly kept: number; readonly of: number };
  readonly merged?: number;
  /** With every centroid alone. */
  readonly pruned?: number;
  readonly guarded?: number;
  readonly reduced?: number;
  readonly refitted?: number;
}

/** Of every layer that a guard or a refit looked at. */
export function layerLosses({ layers }: Pick<Plan, "layers">, refits: Refits | undefined): LayerLosses[] {
  return layers.flatMap(({ layer, guard }) => {
    const fit = refits?.layers.find((one) => one.layer === layer)?.fit;
    if (guard === undefined && fit === undefined) return [];
    return {
      layer,
      ...(guard && {
        merges: { kept: guard.merges.filter(({ kept }) => kept).length, of: guard.merges.length },
        ...{ merged: guard.merged.heldOut, pruned: guard.pruned.heldOut, guarded: guard.after.heldOut },
      }),
      ...(fit && { reduced: relative(fit.before.heldOut), refitted: relative(fit.after.heldOut) }),
    };
  });
}

/** What the guard and the refit came to, a sentence each. */
export function lossSentences({ layers }: Pick<Plan, "layers">, refits: Refits | undefined): string[] {
  const losses = layerLosses({ layers }, refits);
  const sentences: string[] = [];
  const guarded = losses.flatMap(({ merges }) => merges ?? []);
  if (guarded.length > 0) {
    const [kept, of] = [sum(guarded.map((one) => one.kept)), sum(guarded.map((one) => one.of))];
    sentences.push(
      `Guard: ${kept} of ${of} merges are kept, the other groups are their centroids alone; layers lose ` +
        `${mean(losses, "guarded")} of held-out outputs, ${mean(losses, "merged")} with all merges, ${mean(losses, "pruned")} with none`,
    );
  }
  if (losses.some(({ reduced }) => reduced !== undefined)) {
    const change = `${mean(losses, "reduced")} -> ${mean(losses, "refitted")}`;
    const { parts } = refits!.plan;
    sentences.push(`Refit of ${parts === "all" ? "all matrices" : parts}: layers lose ${change} of held-out outputs`);
  }
  return sentences;
}

/** The same as a table in Markdown, a row for each layer; undefined where nobody looked. */
export function lossTable(plan: Pick<Plan, "layers">, refits: Refits | undefined): string[] | undefined {
  const losses = layerLosses(plan, refits);
  if (losses.length === 0) return undefined;
  // What a guard left is what a refit starts from.
  const guarded = losses.some((one) => one.guarded !== undefined);
  const columns = COLUMNS.filter(
    ({ key }) => !(guarded && key === "reduced") && losses.some((one) => one[key] !== undefined),
  );
  const row = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [
    row(["layer", ...columns.map(({ name }) => name)]),
    row(["---", ...columns.map(() => "---")]),
    ...losses.map((one) => row([`${one.layer}`, ...columns.map(({ key }) => percent(one[key]))])),
  ];
}

const COLUMNS = [
  { key: "merged", name: "all groups merged" },
  { key: "pruned", name: "centroids alone" },
  { key: "guarded", name: "guarded" },
  { key: "reduced", name: "before the refit" },
  { key: "refitted", name: "refitted" },
] as const;

/** The mean over layers. */
function mean(losses: readonly LayerLosses[], key: (typeof COLUMNS)[number]["key"]): string {
  const values = losses.flatMap((one) => one[key] ?? []);
  return percent(sum(values) / values.length);
}

function sum(values: readonly number[]): number {
  return values.reduce((all, value) => all + value, 0);
}

function percent(share: number | undefined): string {
  return share === undefined ? "" : `${Number((100 * share).toPrecision(2))} %`;
}

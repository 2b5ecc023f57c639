import type { CompressOptions } from "../../src/pipeline/options.js";

/** What is measured: refits, and what they are measured against. */
export interface Variant {
  readonly name: string;
  /** What the variants of a group differ in. */
  readonly group: "experts and matrices" | "router" | "tokens" | "epochs" | "ridge";
  readonly options: Pick<
    CompressOptions,
    "reconstruct" | "reconstructExperts" | "reconstructEpochs" | "ridge" | "routerCalibration"
  >;
  /** Calibration tokens of the refit; undefined: none. */
  readonly tokens: number | undefined;
}

/** Name of the variant without any refit. */
export const PLAIN = "plain";

/**
 * @param tokens numbers of tokens to compare
 * @param usual what all others are refitted on
 */
export function variantsOf(tokens: readonly number[], usual: number): Variant[] {
  const refit = (name: string, group: Variant["group"], options: Variant["options"], own = usual): Variant => ({
    ...{ name, group, tokens: own },
    options: { reconstruct: "all", ...options },
  });
  const parts = (["merged", "all"] as const).flatMap((experts) =>
    (["down", "down+up", "all"] as const).map((reconstruct) =>
      refit(`${experts === "all" ? "every expert" : experts}, ${reconstruct}`, "experts and matrices", {
        ...{ reconstruct, reconstructExperts: experts },
      }),
    ),
  );
  const routerCalibration = "group-mass" as const;
  return [
    { name: PLAIN, group: "experts and matrices", options: {}, tokens: undefined },
    ...parts,
    { name: "router", group: "router", options: { routerCalibration }, tokens: usual },
    refit("router, all", "router", { routerCalibration }),
    ...tokens
      .filter((own) => own !== usual)
      .map((own) => refit(`${own.toLocaleString("en")} tokens`, "tokens", {}, own)),
    ...[1, 2, 8, 16].map((reconstructEpochs) => refit(`${reconstructEpochs} epochs`, "epochs", { reconstructEpochs })),
    ...[1, 0.1, 0.01, 0.001].map((ridge) => refit(`down, ridge ${ridge}`, "ridge", { reconstruct: "down", ridge })),
  ];
}

/** A variant's name as a folder's. */
export function labelOf({ name, tokens }: Variant): string {
  const words = name.replaceAll(/[^a-z0-9.]+/g, "-");
  return tokens === undefined || /tokens$/.test(words) ? words : `${words}-${tokens}`;
}

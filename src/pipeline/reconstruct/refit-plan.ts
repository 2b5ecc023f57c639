import type { RefitOptions } from "../../compress/reconstruct/refit.js";
import { isMoe, type ModelDescription, type MoeDescription } from "../../model/description.js";
import { EPOCHS, RANDOM_SHARE, type ResolvedCompressOptions } from "../options.js";
import { conflict, refuseSplit, requireTextRun } from "../text-run.js";
import type { RefitPart } from "./expert-matrices.js";

/** How layers are refitted after their experts have been reduced. */
export interface RefitPlan {
  /** What is refitted. */
  readonly parts: "down" | "down+up" | "all";
  /** Which of the kept experts are. */
  readonly experts: "all" | "merged";
  /** How often a descent looks at every token. */
  readonly epochs: number;
  /** Strength of the ridge as a share of the mean diagonal; undefined: by the held-out error. */
  readonly ridge: number | undefined;
  /** Most calibration tokens that are looked at; undefined: `defaultTokens`. */
  readonly tokens: number | undefined;
  /** Random tokens that are looked at besides, as a share of them. */
  readonly random: number;
  readonly seed: number;
}

/** Strengths that are tried, the strongest first. */
const RIDGES = [1, 0.1, 0.01, 0.001, 0.0001];

/** The strength that is tried first for down projections. */
const FIRST_RIDGE = 0.01;

/** Most sweeps at one strength of the ridge. */
const SWEEPS = 20;

/** The refit of `--reconstruct`; undefined where none is asked for. Errors: SETTINGS_CONFLICT. */
export function planRefit(options: ResolvedCompressOptions, split: boolean): RefitPlan | undefined {
  const { reconstruct, reconstructExperts: experts, ridge, reconstructTokens, seed } = options;
  const { reconstructEpochs, reconstructRandom } = options;
  if (reconstruct === "none") {
    const given = {
      "--ridge": ridge !== undefined,
      "--reconstruct-tokens": reconstructTokens !== undefined,
      "--reconstruct-experts": experts !== "all",
      "--reconstruct-epochs": reconstructEpochs !== undefined,
      "--reconstruct-random": reconstructRandom !== undefined,
    };
    const [where] = Object.entries(given).find(([, isGiven]) => isGiven) ?? [];
    if (where === undefined) return undefined;
    throw conflict(where, `${where} says how layers are reconstructed, and none is`, "Give --reconstruct down too.");
  }
  refuseSplit(split, "reconstruct layers");
  requireTextRun(options, "layers are reconstructed");
  const descends = reconstruct === "all";
  if (descends && ridge !== undefined)
    throw conflict("--ridge", "a refit of all matrices has no ridge", "Leave --ridge out, or use --reconstruct down.");
  if (!descends && reconstructEpochs !== undefined)
    throw conflict("--reconstruct-epochs", "only a refit of all matrices has epochs", "Use --reconstruct all.");
  const epochs = reconstructEpochs ?? EPOCHS;
  const random = reconstructRandom ?? RANDOM_SHARE;
  return { parts: reconstruct, experts, epochs, ridge, tokens: reconstructTokens, random, seed };
}

/**
 * Refuses what is not linear in the matrices to be refitted: up projections of experts without gates, or with clamped ones.
 * Errors: SETTINGS_CONFLICT.
 */
export function checkRefit(plan: RefitPlan, { layers }: ModelDescription): void {
  if (!roundsOf(plan).includes("up")) return;
  for (const { feedForward } of layers.filter(isMoe)) {
    const gated = feedForward.experts.parts?.includes("gate") !== false;
    if (gated && typeof feedForward.activation === "string") continue;
    const what = gated ? "are clamped" : "have no gates";
    throw conflict(
      "--reconstruct",
      `the experts ${what}: layers are not linear in their up projections`,
      "Use --reconstruct down.",
    );
  }
}

/** Bytes of activations that are kept from one sweep to the next. */
export const KEPT_BYTES = 2 ** 28;

/** Most tokens that are looked at by default, whatever their size. */
export const MOST_TOKENS = 65_536;

/** Most tokens that are looked at by default: as many as have activations that can be kept. */
export function defaultTokens({ experts, router }: Pick<MoeDescription, "experts" | "router">): number {
  return Math.min(MOST_TOKENS, Math.floor(KEPT_BYTES / (4 * router.topK * experts.width)));
}

/** Bytes of the experts that descend together. */
export const DESCENT_BYTES = 2 ** 30;

/** Numbers of float32 for each of their weights: before and as it is, its gradient, the means of that and of its square. */
export const DESCENT_NUMBERS = 5;

/** Sizes of the first steps of a descent, as shares of a matrix's root mean square: smaller ones where larger ones fail. */
export const RATES = [0.03, 0.01, 0.003];

/** What is refitted by least squares, one after the other. */
export function roundsOf({ parts }: RefitPlan): readonly RefitPart[] {
  if (parts === "all") return [];
  return parts === "down" ? ["down"] : ["down", "up", "down"];
}

/** The strengths of the ridge to try in a round of `roundsOf`, and how long each. */
export function pathOf(
  { ridge }: RefitPlan,
  round: number,
): Pick<RefitOptions, "ridges" | "first" | "onTheWay" | "sweeps"> {
  if (ridge !== undefined) return { ridges: [ridge], first: 0, onTheWay: SWEEPS, sweeps: SWEEPS };
  if (round === 0) return { ridges: RIDGES, first: RIDGES.indexOf(FIRST_RIDGE), onTheWay: 1, sweeps: SWEEPS };
  // Up projections have many more weights, and each strength on the way is worth its sweeps on held-out text.
  return { ridges: RIDGES, first: 0, onTheWay: SWEEPS, sweeps: SWEEPS };
}

import { z } from "zod";
import { ReamError } from "../errors.js";

/** What experts are ranked by. Sources: docs/criteria.md. */
export const SALIENCIES = [
  "reap",
  "frequency",
  "sum",
  "energy",
  "mass",
  "score-mass",
  "mean-norm",
  "mean-squared-norm",
  "sum-norm",
  "sum-squared-norm",
] as const;

/** `sampled=N` for a whole number from 1 on. */
const sampledStatistics = z.templateLiteral(["sampled=", z.int()]).refine((value) => /^[^=]*=[1-9]/.test(value));

/**
 * Every choice that a compression method consists of. The pieces are independent: any combination is a method. Names of
 * equations are those of the REAM paper (arXiv 2604.04356); what the official code does differently is cited as such.
 */
export const settingsSchema = z.object({
  saliency: z
    .enum(SALIENCIES)
    .describe(
      "how experts are ranked: reap = mean of gate x ||E(x)|| over routed tokens (Eq. 3), frequency = share of tokens " +
        "(Eq. 2), sum = sum of gate x ||E(x)||, energy = sum of its square, mass = sum of the weights the model combines " +
        "with, score-mass = sum of the router's scores over all tokens, mean-norm and mean-squared-norm = means of " +
        "||E(x)|| and its square over routed tokens, sum-norm and sum-squared-norm = their sums",
    ),
  criterion: z
    .enum(["saliency", "co-activation", "auto", "swap", "refit-swap"])
    .describe(
      "how the experts that stay are chosen: saliency = those that rank highest, co-activation = greedily by the error of " +
        "dropping them together, auto = whichever of these loses least of the layer's output on held-out calibration text, " +
        "swap = auto, then exchanges that lower the error, refit-swap = the same by the error when the others are refitted",
    ),
  protectSuperExperts: z
    .boolean()
    .describe(
      "always keep experts whose contributions to the layer's output have over a hundred times the squared size of the median expert's",
    ),
  gate: z
    .enum(["combined", "scores", "scores-squared"])
    .describe(
      "the gate in the saliency: combined = the weight the model combines with, scores = the router's scores before " +
        "the top k is chosen, scores-squared = what the official code computes",
    ),
  routing: z
    .enum(["model", "softmax"])
    .describe(
      "which experts a token counts for: those that the model routes it to, or the top k of the softmax of its logits " +
        "whatever the router's own rule (official)",
    ),
  statistics: z
    .union([z.enum(["exact", "batch-means"]), sampledStatistics], {
      error: "Expected exact, sampled=N or batch-means",
    })
    .describe(
      "exact = sums over unpadded tokens; sampled=N = the same, but where there are more than N tokens, mean outputs of " +
        "experts that a token is not routed to come from a seeded sample of N, whose standard error is told; " +
        "batch-means = means of the means of batches, padding included (official)",
    ),
  outputSimilarity: z
    .enum(["mean-cosine", "token-cosine", "none"])
    .describe("mean-cosine = cosine of the experts' mean outputs, token-cosine = mean cosine over tokens (Eq. 4, 8)"),
  gatedOutputs: z.boolean().describe("multiply outputs by the router's scores before their mean is taken"),
  gateSimilarity: z
    .enum(["cosine", "distance", "none"])
    .describe(
      "cosine of the experts' logits over all tokens (Eq. 5), or 1 - d / dmax of their unit vectors (official)",
    ),
  similarityScale: z
    .enum(["signed", "unit"])
    .describe("signed = cosines in -1..1, added (Eq. 7); unit = mapped to 0..1 and averaged"),
  grouping: z
    .enum(["pseudo-prune", "nearest", "hierarchical", "none"])
    .describe(
      "pseudo-prune = REAM, nearest = every expert joins its most similar centroid (M-SMoE), hierarchical = HC-SMoE",
    ),
  groupSize: z.int().min(0).describe("C, the largest group in pseudo-pruning; 0 = no limit (nearest)"),
  groupIncludesCentroid: z.boolean().describe("C counts the centroid"),
  alignActivations: z.boolean().describe("align neurons by their activations"),
  alignWeights: z
    .enum(["none", "raw", "unit", "pca"])
    .describe(
      "align neurons by their weights: as they are, scaled to unit length, or by 64 principal components (official)",
    ),
  merging: z
    .enum(["saliency", "mean", "none"])
    .describe(
      "average weighted by saliency (Eq. 6), plain mean without alignment, or none: keep the centroid (pruning)",
    ),
  rounding: z.enum(["once", "each-member"]).describe("round merged weights once, or after every member (official)"),
  sampling: z
    .enum(["shared", "per-expert"])
    .describe("tokens for the activations: the same for all experts, or in another random order for each (official)"),
  samples: z.int().min(1).describe("tokens sampled for the activations"),
  sequential: z
    .boolean()
    .describe("statistics of a layer come from the model whose earlier layers are already compressed"),
  batchSequences: z.int().min(0).describe("sequences computed at a time; 0 = as many as make about 4,096 tokens"),
});

export type Settings = z.infer<typeof settingsSchema>;

/** Tokens that the paper and its code align neurons by. */
const PUBLISHED_SAMPLES = 32_768;

const REAM: Settings = {
  saliency: "reap",
  criterion: "saliency",
  protectSuperExperts: false,
  gate: "combined",
  routing: "model",
  statistics: "sampled=1024",
  outputSimilarity: "mean-cosine",
  gatedOutputs: true,
  gateSimilarity: "cosine",
  similarityScale: "unit",
  grouping: "pseudo-prune",
  groupSize: 16,
  groupIncludesCentroid: true,
  alignActivations: true,
  alignWeights: "unit",
  merging: "saliency",
  rounding: "once",
  sampling: "shared",
  samples: 4096,
  sequential: true,
  batchSequences: 0,
};

const OFFICIAL: Settings = {
  ...REAM,
  gate: "scores-squared",
  routing: "softmax",
  statistics: "batch-means",
  gateSimilarity: "distance",
  alignWeights: "pca",
  samples: PUBLISHED_SAMPLES,
  rounding: "each-member",
  batchSequences: 8,
};

const PRUNING: Partial<Settings> = {
  outputSimilarity: "none",
  gateSimilarity: "none",
  grouping: "none",
  merging: "none",
  alignActivations: false,
  alignWeights: "none",
};

/** The methods by name. Each is a set of settings; every one of them can be changed by an option. */
export const METHODS = {
  ream: { settings: REAM, about: "REAM as meant: sums over tokens, the model's own weights, one rounding" },
  "ream-official": { settings: OFFICIAL, about: "REAM as its published code computes it" },
  "ream-paper": {
    settings: {
      ...REAM,
      gate: "scores",
      outputSimilarity: "token-cosine",
      similarityScale: "signed",
      groupIncludesCentroid: false,
      alignWeights: "raw",
      samples: PUBLISHED_SAMPLES,
    },
    about: "REAM as its paper says, to the letter",
  },
  reap: { settings: { ...REAM, ...PRUNING }, about: "prune the experts of lowest saliency (arXiv 2510.13999)" },
  frequency: {
    settings: { ...REAM, ...PRUNING, saliency: "frequency" },
    about: "prune the experts that the fewest tokens use",
  },
  "m-smoe": {
    settings: { ...OFFICIAL, grouping: "nearest", groupSize: 0 },
    about: "every expert joins its nearest centroid (M-SMoE, as the REAM code computes it)",
  },
  "hc-smoe": {
    settings: { ...OFFICIAL, grouping: "hierarchical" },
    about: "hierarchical clustering of the mean outputs (HC-SMoE, as the REAM code computes it)",
  },
} as const satisfies Record<string, { settings: Settings; about: string }>;

export type Method = keyof typeof METHODS;
export const METHOD_NAMES = Object.keys(METHODS) as [Method, ...Method[]];

/** The settings among options, those that were given. */
export function pickSettings(options: { readonly [K in keyof Settings]?: Settings[K] | undefined }): Partial<Settings> {
  const given = Object.entries(options).filter(([key, value]) => key in settingsSchema.shape && value !== undefined);
  return Object.fromEntries(given) as Partial<Settings>;
}

/** The settings of a method with some of them changed, checked. */
export function resolveSettings(method: Method, changes: Partial<Settings> = {}): Settings {
  const merged: Settings = { ...METHODS[method].settings, ...changes };
  const settings = settingsSchema.parse(
    merged.groupSize === 0 && merged.grouping === "pseudo-prune" ? { ...merged, grouping: "nearest" } : merged,
  );
  const similarityNeeded = settings.grouping === "pseudo-prune" || settings.grouping === "nearest";
  if (similarityNeeded && settings.outputSimilarity === "none" && settings.gateSimilarity === "none") {
    throw new ReamError("SETTINGS_CONFLICT", `grouping ${settings.grouping} needs a similarity, and both are off`, {
      hint: "Set --output-similarity or --gate-similarity.",
    });
  }
  checkChoice(settings);
  if (sampledTokens(settings) === undefined || wantsMeanOutputs(settings)) return settings;
  if (changes.statistics !== undefined) {
    throw new ReamError("SETTINGS_CONFLICT", "a sample of tokens is for mean outputs alone", {
      where: "--statistics",
      hint: "Leave it out, use --statistics exact, or compare experts by mean outputs (--output-similarity mean-cosine).",
    });
  }
  return { ...settings, statistics: "exact" };
}

/** Tokens of a sample that stands for all where there are more, for mean outputs; undefined: always all. */
export function sampledTokens({ statistics }: Pick<Settings, "statistics">): number | undefined {
  const [, tokens] = statistics.split("=");
  return tokens === undefined ? undefined : Number(tokens);
}

/** Whether experts are compared by their mean outputs. */
export function wantsMeanOutputs({ outputSimilarity, grouping }: Settings): boolean {
  return outputSimilarity === "mean-cosine" || grouping === "hierarchical";
}

function checkChoice({ criterion, protectSuperExperts, grouping, statistics }: Settings): void {
  if (criterion === "saliency" && !protectSuperExperts) return;
  const where = criterion === "saliency" ? "--protect-super-experts" : "--criterion";
  if (grouping === "hierarchical") {
    throw new ReamError("SETTINGS_CONFLICT", "hierarchical clusters choose their centroids themselves", {
      where,
      hint: "Leave it out, or use another grouping.",
    });
  }
  if (statistics === "batch-means" && (criterion !== "co-activation" || protectSuperExperts)) {
    throw new ReamError("SETTINGS_CONFLICT", "experts are compared by exact sums, not by means of batches", {
      where,
      hint: "Add --statistics exact.",
    });
  }
}

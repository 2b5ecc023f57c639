import { z } from "zod";
import { calibrationOptions } from "../calibration/options.js";
import { METHOD_NAMES, type Method, settingsSchema } from "../compress/settings.js";

/** What `--reconstruct` refits. */
export const RECONSTRUCT = ["none", "down", "down+up", "all"] as const;

/** How often a refit by descent looks at every token by default. */
export const EPOCHS = 4;

/** Random tokens that refits look at besides, as a share of the calibration tokens that they look at. */
export const RANDOM_SHARE = 0.25;

/** How to compute: shared by every command that runs a model. */
export const computeOptions = z.object({
  backend: z
    .enum(["auto", "native", "reference"])
    .default("auto")
    .describe("native = Rust core, reference = plain TypeScript; auto = native where it loads"),
  precision: z
    .enum(["auto", "bf16", "f32"])
    .default("auto")
    .describe("inputs of products; auto = bf16 where the weights are stored in bfloat16, else f32"),
  threads: z.int().min(1).max(1024).optional().describe("threads of the native backend (default: all cores)"),
});

/** Options of a compression: the method's settings can be changed one by one. */
export const compressOptions = z.strictObject({
  ...computeOptions.shape,
  ...settingsSchema.partial().shape,
  ...calibrationOptions.shape,
  model: z.string().min(1).describe("folder or hub id org/name[@revision]"),
  out: z.string().min(1).optional().describe("folder that receives the compressed checkpoint"),
  experts: z.int().min(1).optional().describe("experts that each layer keeps"),
  method: z
    .enum(METHOD_NAMES)
    .optional()
    .describe("what to do with the experts (default: ream, and then --reconstruct all where that can be)"),
  guard: z
    .boolean()
    .default(false)
    .describe(
      "undo merges: a group whose merged expert makes the layer no better on held-out calibration text than its centroid " +
        "alone is pruned to that",
    ),
  reconstruct: z
    .enum(RECONSTRUCT)
    .optional()
    .describe(
      "refit the kept experts of each layer to what the original layer makes of the same inputs: all = all their matrices " +
        "together, by gradient descent; down = their down projections, by least squares; down+up = then their up projections, " +
        "then down again; a layer whose error on held-out calibration text does not fall stays as it is (default: none where --method is given)",
    ),
  ridge: z
    .number()
    .min(1e-6)
    .optional()
    .describe(
      "how strongly refitted weights are held to what they were, as a share of the mean square of their inputs (default: " +
        "what the error on held-out calibration text says)",
    ),
  reconstructTokens: z
    .int()
    .min(1)
    .optional()
    .describe(
      "calibration tokens that layers are refitted on, at most, in whole sequences (default: 65,536, or fewer where their " +
        "activations would take more than 256 MB)",
    ),
  reconstructRandom: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .describe(
      "random tokens that refits look at besides, as a share of the calibration tokens that they look at: what the text says " +
        `nothing of stays nearer to what it was (default: ${RANDOM_SHARE})`,
    ),
  reconstructEpochs: z
    .int()
    .min(1)
    .max(1000)
    .optional()
    .describe(`how often \`--reconstruct all\` goes through its tokens (default: ${EPOCHS})`),
  reconstructExperts: z
    .enum(["all", "merged"])
    .default("all")
    .describe(
      "experts that are refitted: all that are kept, or merged ones alone, which leaves pruned layers as they are",
    ),
  routerCalibration: z
    .enum(["none", "group-mass"])
    .default("none")
    .describe(
      "fit the routers of layers with merged experts: group-mass = to what the original router gives to the members of a " +
        "group together; a layer whose error on held-out calibration text does not fall stays as it is",
    ),
  calibrationTokens: z
    .enum(["all", "auto"])
    .default("all")
    .describe(
      "auto = begin with some of the sequences and double them until plans no longer change: until half of the tokens would " +
        "treat at most --tolerance of the experts otherwise",
    ),
  tolerance: z
    .number()
    .min(0)
    .max(1)
    .default(0.02)
    .describe("calibration tokens auto: share of the experts, on average over layers, that may be treated otherwise"),
  then: z
    .array(z.string())
    .default([])
    .describe(
      "what to do with single weights afterwards: magnitude:S, wanda:S, sparsegpt:S (S = 0.5 or 2:4), a format (int8, int4, " +
        "int4-g32, fp8, mxfp4, nvfp4 ...) or gptq:FORMAT; pruning before a format",
    ),
  parts: z
    .array(z.string())
    .default([])
    .describe(
      "where --then applies: experts, shared, dense, attention (default: all for formats, experts alone for pruning)",
    ),
  damping: z
    .number()
    .min(1e-6)
    .max(1)
    .default(0.01)
    .describe("GPTQ, SparseGPT: added to the diagonal of the inputs' Gram matrix, as a share of its mean"),
  activations: z
    .enum(["dynamic", "none"])
    .default("dynamic")
    .describe(
      "fp8, fp8-block: dynamic = the config asks servers to round the inputs of products to 8 bits as well, which is all " +
        "that they have kernels for in mixtures; none = weights alone",
    ),
  activationOrder: z.boolean().default(false).describe("GPTQ: round the columns with the largest inputs first"),
  leastTokens: z
    .int()
    .min(0)
    .default(32)
    .describe("experts that fewer calibration tokens reach are rounded to nearest, or pruned by magnitude"),
  observed: z
    .string()
    .optional()
    .describe("folder of an observation (ream observe): plan from its sums instead of running calibration text"),
  plan: z.string().optional().describe("apply this plan (JSON of --dry-run --json) instead of making one"),
  sampledTokens: z
    .string()
    .optional()
    .describe("safetensors with layers.<l>.sampled_tokens [batches, experts, samples]: tokens for the activations"),
  shards: z
    .enum(["source", "layer"])
    .default("source")
    .describe("files of the output: as in the source, or one for each layer"),
  outputDtype: z
    .enum(["same", "bf16", "f16", "f32"])
    .default("same")
    .describe("dtype of the output's float tensors; same = as in the source, untouched tensors keep their bytes"),
  predictionLayers: z
    .enum(["compress", "drop", "keep"])
    .optional()
    .describe(
      "layers for multi-token prediction: compress = to as many experts, drop = leave them out, keep = copy them (default: compress where possible, else keep)",
    ),
  trace: z
    .string()
    .optional()
    .describe("folder that receives trace.json and trace.safetensors: every number a plan is made from"),
  memoryLimit: z
    .string()
    .regex(/^\d+(\.\d+)?(MB|GB|TB)$/, "a size like 24GB")
    .optional()
    .describe(
      "memory to plan with (24GB): hidden states go to a file where they do not fit, and a run that needs more without them does " +
        "not start; the plan is told (default: what is available)",
    ),
  dryRun: z.boolean().default(false).describe("make the plan, write no checkpoint"),
  restart: z.boolean().default(false).describe("throw away what an interrupted run left"),
});

export type CompressOptions = z.input<typeof compressOptions>;
export type ParsedCompressOptions = z.output<typeof compressOptions>;

/** Options with all defaults, those that depend on others too (`resolveCompress`). */
export interface ResolvedCompressOptions extends Omit<ParsedCompressOptions, "method" | "reconstruct"> {
  readonly method: Method;
  readonly reconstruct: (typeof RECONSTRUCT)[number];
}

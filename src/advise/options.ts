import { z } from "zod";
import { METHOD_NAMES } from "../compress/settings.js";
import { computeOptions } from "../pipeline/options.js";

/** Options of `ream advise`; each becomes a flag. */
export const adviseOptions = z.strictObject({
  model: z.string().min(1).describe("folder or hub id org/name[@revision]"),
  fit: z.string().optional().describe("memory that the model has to fit: 24GB, 16GiB, 80g"),
  context: z.int().min(1).max(100_000_000).default(8192).describe("tokens of a sequence that the caches are for"),
  sequences: z.int().min(1).max(1_000_000).default(1).describe("sequences at a time"),
  allowance: z
    .string()
    .default("10%")
    .describe("memory left for activations and for what an engine itself takes: a share of --fit, or a size"),
  method: z
    .array(z.enum(METHOD_NAMES))
    .default(["ream", "reap"])
    .describe("how experts may be reduced; repeatable. Results of other methods count as well"),
  results: z
    .array(z.string().min(1))
    .default([])
    .describe("folder of `ream evaluate` or `ream study` with models made from this one; repeatable"),
  observed: z.string().optional().describe("folder of an observation of the model: what its experts do"),
  mix: z.string().optional().describe("domains of the observation and their shares; default: all in equal shares"),
  sampledExperts: z
    .int()
    .min(1)
    .max(10_000)
    .default(8)
    .describe("experts that are rounded to each weight format to measure its error"),
  seed: z
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .default(0)
    .describe("of the drawing of these"),
  ...computeOptions.shape,
});

export type AdviseOptions = z.input<typeof adviseOptions>;
export type ResolvedAdviseOptions = z.output<typeof adviseOptions>;

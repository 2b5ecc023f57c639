import { z } from "zod";
import { calibrationOptions } from "../calibration/options.js";
import { settingsSchema } from "../compress/settings.js";
import { compressOptions, computeOptions } from "../pipeline/options.js";

const { mix: _mix, tokens: _tokens, ...text } = calibrationOptions.shape;

/** Options of an observation. */
export const observeOptions = z.strictObject({
  ...computeOptions.shape,
  ...text,
  model: z.string().min(1).describe("folder or hub id org/name[@revision]"),
  out: z.string().min(1).describe("folder that receives the observation"),
  sequences: text.sequences.describe(
    "sequences of one mix; of each domain as many are observed as the mix needs that has most of it",
  ),
  mix: z
    .array(z.string())
    .default([])
    .describe(
      "a mix that will be asked for, as general=0.3,code=0.7; repeatable; paper = the ten of the paper. Default: paper " +
        "where the domains are general, math and code, else every tenth of each domain. Other mixes are estimated.",
    ),
  samples: settingsSchema.shape.samples.default(32_768),
  gatedOutputs: settingsSchema.shape.gatedOutputs.default(true),
  tokenCosines: z
    .boolean()
    .default(false)
    .describe("also sum the cosines of the experts' outputs token by token, for ream-paper: costly"),
  pruningOnly: z
    .boolean()
    .default(false)
    .describe("only what pruning needs (reap, frequency ...): about as fast as an ordinary forward pass"),
  memoryLimit: compressOptions.shape.memoryLimit,
  restart: z.boolean().default(false).describe("throw away what an interrupted run left"),
});

export type ObserveOptions = z.input<typeof observeOptions>;
export type ResolvedObserveOptions = z.output<typeof observeOptions>;

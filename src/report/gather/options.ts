import { z } from "zod";
import { evaluateOptions } from "../../evaluate/run/options.js";
import { computeOptions } from "../../pipeline/options.js";

const { heldOut, heldOutSequences, heldOutLength } = evaluateOptions.shape;

/** What the page of a compressed model is made from, besides its own `ream.json`; each becomes a flag. */
export const reportOptions = z.strictObject({
  evaluation: z.string().optional().describe("folder of an evaluation that compared it with the original"),
  label: z.string().optional().describe("its name there (default: found by its folder)"),
  observed: z.string().optional().describe("folder of an observation of the original: what its experts do"),
  heldOut: heldOut.describe(
    "DOMAIN=SOURCE, repeatable: text on which both models are run, for KL and errors of layers",
  ),
  heldOutSequences,
  heldOutLength,
  original: z.string().optional().describe("folder or hub id of the original (default: as ream.json names it)"),
  ...computeOptions.shape,
});

export type ReportOptions = z.output<typeof reportOptions>;

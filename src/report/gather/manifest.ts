import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { decodeUtf8, parseJson } from "../../checkpoint/json.js";
import { choiceSchema } from "../../compress/choose/choice.js";
import { ReamError } from "../../errors.js";

const groups = z.array(z.object({ members: z.array(z.int()), weights: z.array(z.number()) }));

/** Shares of a layer's squared outputs that are lost on held-out text. */
const loss = z.object({ heldOut: z.number(), domains: z.record(z.string(), z.number()) });

/** A layer of the plan in `ream.json`; its attention has groups where it is a mixture of experts. */
export const manifestLayer = z.object({
  layer: z.int(),
  superExperts: z.array(z.int()).optional(),
  choice: choiceSchema.optional(),
  /** What a guard found: with every group merged, with centroids alone, and as was kept. */
  guard: z.object({ merged: loss, pruned: loss, after: loss }).optional(),
  groups,
  attention: z.object({ groups }).optional(),
});

const fittedRouter = z.object({ layer: z.int(), kept: z.boolean(), before: loss.optional(), after: loss.optional() });

/** What reports read of `ream.json` (pipeline/manifest.ts); its other keys are not looked at. */
const manifest = z.object({
  format: z.literal("ream-manifest"),
  ream: z.string(),
  source: z.object({
    model: z.string(),
    family: z.string(),
    files: z.array(z.object({ name: z.string(), bytes: z.number(), sha256: z.string() })),
  }),
  method: z.string(),
  experts: z.object({ before: z.int(), after: z.int() }),
  topK: z.int(),
  outputDtype: z.string(),
  /** Refits of kept experts; a layer that nothing was to be made up for has no errors, one that stayed as it was none after. */
  reconstruct: z
    .object({
      parts: z.string(),
      layers: z.array(z.object({ layer: z.int(), before: loss.optional(), after: loss.optional() })),
    })
    .optional(),
  /** What was done to the weights behind the experts, step by step, as "int4-g128" or "gptq:int4-g128". */
  then: z.array(z.string()).optional(),
  steps: z.object({ parts: z.array(z.string()) }).optional(),
  settings: z.record(z.string(), z.unknown()).optional(),
  seed: z.number().optional(),
  calibration: z
    .object({
      sequences: z.int(),
      length: z.int(),
      domains: z.array(z.object({ name: z.string(), source: z.string(), tokens: z.int() })),
    })
    .optional(),
  observation: z.string().optional(),
  routerCalibration: z.object({ layers: z.array(fittedRouter) }).optional(),
  engine: z.object({ backend: z.string(), precision: z.string() }).optional(),
  plan: z.object({ digest: z.string(), layers: z.array(manifestLayer) }),
});

export type ReadManifest = z.infer<typeof manifest>;

/**
 * Reads the manifest of a compressed checkpoint; a study keeps it under another `name`.
 * Errors: MANIFEST_READ, MANIFEST_INVALID, and those of JSON.
 */
export async function readManifest(folder: string, name = "ream.json"): Promise<ReadManifest> {
  const path = join(folder, name);
  const bytes = await readFile(path).catch((cause: Error) => {
    throw new ReamError("MANIFEST_READ", `the manifest cannot be read: ${cause.message}`, {
      where: path,
      hint: "Give the folder of a checkpoint that `ream compress` has written.",
      cause,
    });
  });
  const parsed = manifest.safeParse(parseJson(decodeUtf8(bytes, path), path));
  if (parsed.success) return parsed.data;
  throw new ReamError("MANIFEST_INVALID", z.prettifyError(parsed.error).slice(0, 2000), { where: path });
}

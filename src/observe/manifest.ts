import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { parseJson } from "../checkpoint/json.js";
import { ReamError } from "../errors.js";
import type { Unit } from "./cuts.js";

export const MANIFEST_NAME = "observation.json";

const count = z.int().min(0);

const domainSchema = z.object({
  /** Where the text came from. */
  source: z.string(),
  /** SHA-256 of the tokens. */
  digest: z.string(),
  /** Numbers of sequences at which the sums can be cut; the last is how many there are. */
  cuts: z.array(z.int().min(1)).min(1),
  /** Tokens without padding. */
  tokens: count,
});

const schema = z.object({
  format: z.literal("ream-observation"),
  version: z.literal(1),
  program: z.string(),
  model: z.object({ name: z.string(), family: z.string(), identity: z.string() }),
  engine: z.object({ backend: z.string(), precision: z.enum(["bf16", "f32"]), variant: z.string() }),
  /** MoE layers, and what they have in common. */
  layers: z.array(count).min(1),
  /** Experts of a layer, and what their number may be after compression: multiples of the router's groups. */
  limits: z.object({
    experts: z.int().min(1),
    topK: z.int().min(1),
    step: z.int().min(1),
    least: z.int().min(1),
  }),
  /** Size of the routed experts' inputs and outputs. */
  hidden: z.int().min(1),
  /** What is summed (compress/statistics.ts). */
  statistics: z.object({
    gateGram: z.boolean(),
    activations: z.enum(["gated", "plain", "none"]),
    tokenCosines: z.boolean(),
    coactivation: z.boolean(),
  }),
  calibration: z.object({
    /** Sequences of a mix, which the cuts were planned for. */
    sequences: z.int().min(1),
    length: z.int().min(1),
    seed: count,
    /** Tokens whose inputs are kept, of each sequence. */
    samplesPerSequence: count,
  }),
  domains: z.record(z.string(), domainSchema),
});

/** What an observation is of: everything that its numbers depend on. */
export type ObservationManifest = z.infer<typeof schema>;

/** Name of the file of one layer and unit, below the observation's folder. */
export function unitPath({ domain, begin, end }: Unit, layer: number): string {
  return join(domain, `${begin}-${end}`, `layer-${String(layer).padStart(5, "0")}.safetensors`);
}

/** Reads the manifest of a finished observation. Errors: OBSERVATION_MISSING, OBSERVATION_DAMAGED. */
export async function readManifest(folder: string): Promise<ObservationManifest> {
  const where = join(folder, MANIFEST_NAME);
  const text = await readFile(where, "utf8").catch((cause: unknown) => {
    throw new ReamError("OBSERVATION_MISSING", "there is no finished observation", {
      where,
      hint: "Make one with `ream observe MODEL --out DIR`; one that was interrupted goes on with the same command.",
      cause,
    });
  });
  const parsed = schema.safeParse(parseJson(text, MANIFEST_NAME));
  if (parsed.success) return parsed.data;
  throw new ReamError("OBSERVATION_DAMAGED", z.prettifyError(parsed.error), {
    where,
    hint: "It may be of a newer version of the program.",
  });
}

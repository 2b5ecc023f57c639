import { z } from "zod";

/** Options of calibration text; each becomes a flag of the command line. */
export const calibrationOptions = z.object({
  mix: z
    .string()
    .optional()
    .describe(
      "Domains and their shares, as general=0.3,math=0.3,code=0.4; without numbers all are equal. " +
        "Default: the domains given by --domain, else general,math,code.",
    ),
  domain: z
    .array(z.string())
    .default([])
    .describe(
      "NAME=SOURCE, repeatable. SOURCE is a JSONL, JSON, text or Parquet file, a folder of them, a hub dataset " +
        "(hf://datasets/org/name[@revision][/path]), or c4, numina-math-1.5 or the-stack-smol.",
    ),
  field: z
    .array(z.string())
    .default([])
    .describe("NAME=FIELD, repeatable. The field of a domain's records that holds the text; default: found by name."),
  tokens: z
    .string()
    .optional()
    .describe(
      "Safetensors file with input_ids [sequences, length] and optionally attention_mask. Used whole and in order, " +
        "in place of text; the other options of calibration do not apply.",
    ),
  sequences: z.number().int().min(1).max(1_000_000).default(3072).describe("Number of sequences."),
  length: z.number().int().min(8).max(131_072).default(512).describe("Tokens a sequence."),
  packing: z
    .enum(["packed", "padded"])
    .default("packed")
    .describe(
      "packed: documents follow one another and are cut into full sequences; padded: one document a sequence, cut or padded.",
    ),
  minFill: z
    .number()
    .min(0)
    .max(1)
    .default(0.9)
    .describe("With --packing padded: documents that fill less than this share of a sequence are used last."),
  seed: z
    .number()
    .int()
    .min(0)
    .max(Number.MAX_SAFE_INTEGER)
    .default(42)
    .describe("Seed of the choice of documents and of sampled tokens."),
  tokenizer: z.string().optional().describe("Folder with tokenizer.json. Default: the model's."),
});

export type CalibrationOptions = z.output<typeof calibrationOptions>;

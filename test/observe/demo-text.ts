import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Plan } from "../../src/compress/plan.js";
import { compress } from "../../src/pipeline/compress.js";
import type { CompressOptions } from "../../src/pipeline/options.js";

const demo = fileURLToPath(new URL("../../demo/", import.meta.url));
export const MODEL = join(demo, "model");
const DOMAINS = ["general", "math", "code"];

/** A little of the demo's calibration text. */
export const TEXT = {
  domain: DOMAINS.map((name) => `${name}=${join(demo, "data/calibration", `${name}.jsonl`)}`),
  sequences: 24,
  length: 32,
};

/** The plan of a compression that writes nothing, and the notes it gives. */
export async function dryPlan(options: Omit<CompressOptions, "model" | "dryRun"> & { model?: string }) {
  const run = compress({ model: MODEL, ...options, dryRun: true });
  const notes: string[] = [];
  for (let step = await run.next(); ; step = await run.next()) {
    if (step.done) return { plan: step.value.plan, notes };
    if (step.value.type === "note") notes.push(step.value.message);
  }
}

/** Members and their weights, rounded where sums in another order may differ. */
export function groups({ layers }: Plan) {
  return layers.map(({ keptExperts, groups }) => ({
    keptExperts,
    groups: groups.map(({ members, weights }) => ({ members, weights: weights.map((weight) => weight.toFixed(9)) })),
  }));
}

export function permutations({ layers }: Plan) {
  return layers.map(({ groups }) => groups.map((group) => group.permutations));
}

/** The models of the reference data know 128 tokens and bring no tokenizer: one of single characters. */
export function writeCharacterTokenizer(folder: string): string {
  const tokenizer = JSON.parse(readFileSync(join(MODEL, "tokenizer.json"), "utf8"));
  const characters = Object.keys(tokenizer.model.vocab).filter((token) => token.length === 1 && token < "\u007f");
  // Space and line break as byte-level tokenizers write them.
  const vocab = Object.fromEntries([...characters, "Ġ", "Ċ"].map((token, id) => [token, id]));
  const text = JSON.stringify({ ...tokenizer, added_tokens: [], model: { ...tokenizer.model, vocab, merges: [] } });
  writeFileSync(join(folder, "tokenizer.json"), text);
  return folder;
}

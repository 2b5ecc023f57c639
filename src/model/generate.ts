import type { Checkpoint } from "../checkpoint/checkpoint.js";
import type { Backend } from "../engine/backend.js";
import { ReamError } from "../errors.js";
import type { ModelDescription } from "./description.js";
import { forward, OutputHead } from "./forward.js";

/**
 * Continues prompts greedily by `count` tokens each, without an end token. Equal logits: the lower id. Prompts may differ
 * in length; none is padded. The whole prefix is computed anew for every token, as there is no key/value cache yet.
 * Errors: PROMPT_EMPTY, TOKEN_RANGE.
 */
export async function generateAll(
  checkpoint: Checkpoint,
  model: ModelDescription,
  backend: Backend,
  prompts: readonly (readonly number[])[],
  count: number,
  signal?: AbortSignal,
): Promise<number[][]> {
  if (prompts.some((prompt) => prompt.length === 0)) {
    throw new ReamError("PROMPT_EMPTY", "a prompt has no tokens", { hint: "Give at least one token id." });
  }
  const rows = prompts.map((prompt) => [...prompt]);
  const head = await OutputHead.load(checkpoint, model, backend);
  try {
    for (let step = 0; step < count; step++) {
      signal?.throwIfAborted();
      const batches = rows.map((row) => ({ sequences: 1, length: row.length, ids: Int32Array.from(row) }));
      const hidden = await forward(checkpoint, model, backend, batches);
      for (const [index, row] of rows.entries()) {
        row.push(largest(head.logits(hidden[index]!.slice(-model.hiddenSize))));
      }
    }
  } finally {
    head.dispose();
  }
  return rows.map((row, index) => row.slice(prompts[index]!.length));
}

/** Continues one prompt greedily by `count` tokens: `generateAll` for a single prompt. */
export async function generate(
  checkpoint: Checkpoint,
  model: ModelDescription,
  backend: Backend,
  prompt: readonly number[],
  count: number,
  signal?: AbortSignal,
): Promise<number[]> {
  const [tokens] = await generateAll(checkpoint, model, backend, [prompt], count, signal);
  return tokens!;
}

/** Index of the largest value; the first of equal ones. */
function largest(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

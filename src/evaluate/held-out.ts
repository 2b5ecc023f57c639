import { setImmediate as nextTurn } from "node:timers/promises";
import type { Checkpoint } from "../checkpoint/checkpoint.js";
import type { Backend } from "../engine/backend.js";
import type { ModelDescription } from "../model/description.js";
import { forward, OutputHead } from "../model/forward.js";
import type { TokenBatch } from "../model/layer.js";

/** A model that is open for reading. */
export interface OpenModel {
  readonly checkpoint: Checkpoint;
  readonly model: ModelDescription;
}

/** How well a model predicts held-out text, and how near it is to the original. All means are over predicted tokens. */
export interface HeldOutMeasure {
  readonly tokens: number;
  /** Mean negative log-likelihood of the next token, in nats. */
  readonly loss: number;
  /** exp(loss). */
  readonly perplexity: number;
  /** Share of tokens for which both models find the same next token most likely. */
  readonly agreement: number;
  /** Kullback-Leibler divergence from the original's distribution to the model's, in nats. */
  readonly divergence: number;
}

/** Last hidden states of a model over batches; keep them to compare several models with one original. */
export async function lastHidden(open: OpenModel, backend: Backend, batches: readonly TokenBatch[]) {
  return { open, hidden: await forward(open.checkpoint, open.model, backend, batches) };
}

export type LastHidden = Awaited<ReturnType<typeof lastHidden>>;

/** Compares a model with the original on the same held-out batches. Padding and the first token are not predicted. */
export async function measureHeldOut(
  original: LastHidden,
  candidate: LastHidden,
  backend: Backend,
  batches: readonly TokenBatch[],
): Promise<HeldOutMeasure> {
  const heads = [
    await OutputHead.load(original.open.checkpoint, original.open.model, backend),
    await OutputHead.load(candidate.open.checkpoint, candidate.open.model, backend),
  ] as const;
  const vocabulary = original.open.model.vocabularySize;
  const sums = { tokens: 0, loss: 0, agreement: 0, divergence: 0 };
  for (const [index, batch] of batches.entries()) {
    const p = heads[0].logits(original.hidden[index]!);
    const q = candidate === original ? p : heads[1].logits(candidate.hidden[index]!);
    for (let row = 0; row < batch.ids.length; row++) {
      const target = nextToken(batch, row);
      if (target === undefined) continue;
      const start = row * vocabulary;
      const a = logSoftmax(p, start, vocabulary);
      const b = candidate === original ? a : logSoftmax(q, start, vocabulary);
      sums.tokens += 1;
      sums.loss -= b.values[target]!;
      if (a.best === b.best) sums.agreement += 1;
      for (let i = 0; i < vocabulary; i++) sums.divergence += Math.exp(a.values[i]!) * (a.values[i]! - b.values[i]!);
    }
    await nextTurn();
  }
  for (const head of heads) head.dispose();
  const { tokens } = sums;
  const loss = sums.loss / tokens;
  return {
    tokens,
    loss,
    perplexity: Math.exp(loss),
    agreement: sums.agreement / tokens,
    divergence: sums.divergence / tokens,
  };
}

/** The token that follows a row in its sequence, or undefined at the end and in padding. */
function nextToken(batch: TokenBatch, row: number): number | undefined {
  if ((row + 1) % batch.length === 0) return undefined;
  if (batch.mask !== undefined && (batch.mask[row] === 0 || batch.mask[row + 1] === 0)) return undefined;
  return batch.ids[row + 1];
}

function logSoftmax(logits: Float32Array, start: number, size: number): { values: Float64Array; best: number } {
  let best = 0;
  for (let i = 1; i < size; i++) if (logits[start + i]! > logits[start + best]!) best = i;
  const max = logits[start + best]!;
  let sum = 0;
  for (let i = 0; i < size; i++) sum += Math.exp(logits[start + i]! - max);
  const shift = max + Math.log(sum);
  return { values: Float64Array.from({ length: size }, (_, i) => logits[start + i]! - shift), best };
}

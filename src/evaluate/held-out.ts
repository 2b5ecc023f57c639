import { setImmediate as nextTurn } from "node:timers/promises";
import type { Checkpoint } from "../checkpoint/checkpoint.js";
import type { Backend } from "../engine/backend.js";
import { ReamError } from "../errors.js";
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
export async function lastHidden(
  open: OpenModel,
  backend: Backend,
  batches: readonly TokenBatch[],
  signal?: AbortSignal,
) {
  const tap = { hidden: () => signal?.throwIfAborted() };
  return { open, hidden: await forward(open.checkpoint, open.model, backend, batches, tap) };
}

export type LastHidden = Awaited<ReturnType<typeof lastHidden>>;

/** Rows whose logits are in memory at a time: vocabularies of 150,000 tokens would fill it with a whole batch. */
const ROWS = 128;

/**
 * Compares a model with the original on the same held-out batches. Padding and the first token are not predicted.
 * Errors: VOCABULARY_DIFFERS, NOTHING_TO_PREDICT.
 */
export async function measureHeldOut(
  original: LastHidden,
  candidate: LastHidden,
  backend: Backend,
  batches: readonly TokenBatch[],
): Promise<HeldOutMeasure> {
  const [first, second] = [original.open.model.vocabularySize, candidate.open.model.vocabularySize];
  if (first !== second) {
    throw new ReamError("VOCABULARY_DIFFERS", `the models have vocabularies of ${first} and ${second} tokens`, {
      hint: "Compare a model with what was made from it.",
    });
  }
  const heads: OutputHead[] = [];
  try {
    for (const { open } of candidate === original ? [original] : [original, candidate]) {
      heads.push(await OutputHead.load(open.checkpoint, open.model, backend));
    }
    const sums = { tokens: 0, loss: 0, agreement: 0, divergence: 0 };
    for (const [index, batch] of batches.entries()) {
      const hidden = [original.hidden[index]!, candidate.hidden[index]!].slice(0, heads.length);
      for (let begin = 0; begin < batch.ids.length; begin += ROWS) {
        const end = Math.min(batch.ids.length, begin + ROWS);
        const logits = hidden.map((states, i) => {
          const size = states.length / batch.ids.length;
          return heads[i]!.logits(states.subarray(begin * size, end * size));
        });
        for (let row = begin; row < end; row++) {
          const target = nextToken(batch, row);
          if (target !== undefined) addPrediction(sums, logits, (row - begin) * first, first, target);
        }
        await nextTurn();
      }
    }
    return finish(sums);
  } finally {
    for (const head of heads) head.dispose();
  }
}

/** Adds one predicted token: logits are the original's, and the candidate's where it is another model. */
function addPrediction(
  sums: { tokens: number; loss: number; agreement: number; divergence: number },
  logits: readonly Float32Array[],
  start: number,
  vocabulary: number,
  target: number,
): void {
  const p = logSoftmax(logits[0]!, start, vocabulary);
  const q = logits[1] === undefined ? p : logSoftmax(logits[1], start, vocabulary);
  sums.tokens += 1;
  sums.loss -= q.values[target]!;
  if (p.best === q.best) sums.agreement += 1;
  for (let i = 0; i < vocabulary; i++) sums.divergence += Math.exp(p.values[i]!) * (p.values[i]! - q.values[i]!);
}

function finish({
  tokens,
  loss,
  agreement,
  divergence,
}: Record<"tokens" | "loss" | "agreement" | "divergence", number>) {
  if (tokens === 0) {
    throw new ReamError("NOTHING_TO_PREDICT", "the held-out text has no token that follows another", {
      hint: "Give sequences of at least two tokens.",
    });
  }
  const mean = loss / tokens;
  return {
    tokens,
    loss: mean,
    perplexity: Math.exp(mean),
    agreement: agreement / tokens,
    divergence: divergence / tokens,
  };
}

/** The token that follows a row in its sequence, or undefined at the end and in padding. */
function nextToken(batch: TokenBatch, row: number): number | undefined {
  if ((row + 1) % batch.length === 0) return undefined;
  if (batch.mask !== undefined && (batch.mask[row] === 0 || batch.mask[row + 1] === 0)) return undefined;
  return batch.ids[row + 1];
}

/** Logarithms of the softmax of a row, and the index of the largest one. */
function logSoftmax(logits: Float32Array, start: number, size: number): { values: Float64Array; best: number } {
  let best = 0;
  for (let i = 1; i < size; i++) if (logits[start + i]! > logits[start + best]!) best = i;
  const max = logits[start + best]!;
  let sum = 0;
  for (let i = 0; i < size; i++) sum += Math.exp(logits[start + i]! - max);
  const shift = max + Math.log(sum);
  const values = new Float64Array(size);
  for (let i = 0; i < size; i++) values[i] = logits[start + i]! - shift;
  return { values, best };
}

import { createHash } from "node:crypto";
import type { Calibration } from "../calibration/calibration.js";
import type { Settings } from "../compress/settings.js";
import type { TokenBatch } from "../model/layer.js";

/** Tokens computed at a time where the method does not say how many sequences make a batch. */
const BATCH_TOKENS = 4096;

/** Cuts sequences `[begin, end)` of a calibration set, by default all, into batches of whole sequences. */
export function makeBatches(
  calibration: Calibration,
  { batchSequences }: Pick<Settings, "batchSequences">,
  [begin, end]: readonly [number, number] = [0, calibration.sequences],
): TokenBatch[] {
  const { length, ids, mask, domains, domainOfSequence } = calibration;
  const keys = sequenceKeys(calibration);
  const size = batchTokens(length, { batchSequences }) / length;
  const padded = mask.some((value) => value === 0);
  const batches: TokenBatch[] = [];
  for (let first = begin; first < end; first += size) {
    const last = Math.min(end, first + size);
    batches.push({
      sequences: last - first,
      length,
      ids: ids.subarray(first * length, last * length),
      mask: padded ? mask.subarray(first * length, last * length) : undefined,
      keys: keys.subarray(first, last),
      domains: Array.from(domainOfSequence.subarray(first, last), (domain) => domains[domain]!.name),
    });
  }
  return batches;
}

/** Tokens of a batch of sequences of a length. */
export function batchTokens(length: number, { batchSequences }: Pick<Settings, "batchSequences">): number {
  return length * (batchSequences || Math.max(1, Math.floor(BATCH_TOKENS / length)));
}

/** A number for each sequence that follows from its domain's name and its place among the domain's sequences. */
function sequenceKeys({ domains, domainOfSequence }: Calibration): Uint32Array {
  const next = domains.map(({ name }) => createHash("sha256").update(name).digest().readUInt32LE(0));
  return Uint32Array.from(domainOfSequence, (domain) => next[domain]!++);
}

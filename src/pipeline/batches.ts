import { createHash } from "node:crypto";
import type { Calibration } from "../calibration/calibration.js";
import type { Settings } from "../compress/settings.js";
import type { TokenBatch } from "../model/layer.js";

/** Tokens computed at a time where the method does not say how many sequences make a batch. */
const BATCH_TOKENS = 4096;

/** Cuts a calibration set into batches of whole sequences. */
export function makeBatches(calibration: Calibration, settings: Pick<Settings, "batchSequences">): TokenBatch[] {
  const { sequences, length, ids, mask } = calibration;
  const keys = sequenceKeys(calibration);
  const size = settings.batchSequences || Math.max(1, Math.floor(BATCH_TOKENS / length));
  const padded = mask.some((value) => value === 0);
  const batches: TokenBatch[] = [];
  for (let first = 0; first < sequences; first += size) {
    const [begin, end] = [first * length, Math.min(sequences, first + size) * length];
    batches.push({
      sequences: (end - begin) / length,
      length,
      ids: ids.subarray(begin, end),
      mask: padded ? mask.subarray(begin, end) : undefined,
      keys: keys.subarray(begin / length, end / length),
    });
  }
  return batches;
}

/** A number for each sequence that follows from its domain's name and its place among the domain's sequences. */
export function sequenceKeys({
  domains,
  domainOfSequence,
}: Pick<Calibration, "domains" | "domainOfSequence">): Uint32Array {
  const next = domains.map(({ name }) => firstKey(name));
  return Uint32Array.from(domainOfSequence, (domain) => next[domain]!++);
}

/** The key of a domain's first sequence; those of the others follow. */
export function firstKey(domain: string): number {
  return createHash("sha256").update(domain).digest().readUInt32LE(0);
}

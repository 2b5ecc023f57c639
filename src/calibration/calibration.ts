import { createHash } from "node:crypto";

/** What one domain gave to a calibration set. */
export interface CalibrationDomain {
  readonly name: string;
  /** Share of the sequences that was asked for. */
  readonly ratio: number;
  readonly sequences: number;
  /** Tokens without padding. */
  readonly tokens: number;
  /** Where the text came from: a path, a hub dataset with its commit, or the name of a source. */
  readonly source: string;
}

/** Token sequences of equal length on which a model is observed, in an order whose every prefix has about the right mix. */
export interface Calibration {
  readonly sequences: number;
  /** Tokens a sequence, padding included. */
  readonly length: number;
  /** `[sequences, length]` */
  readonly ids: Int32Array;
  /** `[sequences, length]`: 1 = token, 0 = padding. */
  readonly mask: Uint8Array;
  readonly domains: readonly CalibrationDomain[];
  /** `[sequences]`: index into `domains`. */
  readonly domainOfSequence: Uint8Array;
  /** SHA-256 over shape, ids and mask (`calibrationDigest`). */
  readonly digest: string;
  /** What a person should know about this set: less text than asked for, skipped documents and the like. */
  readonly notes: readonly string[];
}

/** A calibration set without its tokens. */
export type DescribedCalibration = Pick<Calibration, "sequences" | "length" | "domains" | "digest" | "notes">;

export function describeCalibration({ sequences, length, domains, digest, notes }: Calibration | DescribedCalibration) {
  return { sequences, length, digest, domains, notes };
}

/**
 * SHA-256 in hex over the line `ream-calibration 1 SEQUENCES LENGTH\n`, the ids as little-endian int32 and the mask as
 * bytes. Two runs with equal digests saw the same tokens, whatever files and tokenizer versions they came from.
 */
export function calibrationDigest(sequences: number, length: number, ids: Int32Array, mask: Uint8Array): string {
  return createHash("sha256")
    .update(`ream-calibration 1 ${sequences} ${length}\n`)
    .update(new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength))
    .update(mask)
    .digest("hex");
}

import type { KeyValueCache, Segment } from "../backend.js";
import type { KeyValues } from "./binary.js";
import { checked } from "./checked.js";

/** A cache that the library keeps. After `dispose` it is empty and refuses new tokens. */
export class NativeKeyValueCache implements KeyValueCache {
  constructor(
    readonly keyValueHeads: number,
    readonly headSize: number,
    readonly valueSize: number,
    readonly kept: KeyValues,
  ) {}

  get bytes(): number {
    return this.kept.bytes;
  }

  length(sequence: number): number {
    return this.kept.length(whole(sequence, "a sequence"));
  }

  truncate(sequence: number, length: number): void {
    checked(() => this.kept.truncate(whole(sequence, "a sequence"), whole(length, "a length")));
  }

  dispose(): void {
    this.kept.dispose();
  }
}

/** Segments as the library takes them (binary.ts, `attendCached`). */
export function packSegments(segments: readonly Segment[]): Uint32Array {
  const packed = new Uint32Array(4 * segments.length);
  for (const [i, { sequence, tokens, prefix }] of segments.entries()) {
    packed[4 * i] = whole(sequence, "a sequence");
    packed[4 * i + 1] = whole(tokens, "a number of tokens");
    packed[4 * i + 2] = whole(prefix?.sequence ?? 0, "a sequence");
    packed[4 * i + 3] = whole(prefix?.length ?? 0, "a length");
  }
  return packed;
}

/** The library takes 32-bit numbers; others would wrap around. */
function whole(value: number, what: string): number {
  if (Number.isInteger(value) && value >= 0 && value <= 0xffffffff) return value;
  throw new RangeError(`attendCached: ${value} is not ${what}`);
}

import type { RecurrentSegment } from "../backend.js";

/** A segment that was checked: its first row, and a state that may be written to. */
export interface Placed {
  readonly start: number;
  readonly tokens: number;
  readonly state: Float32Array;
}

/** Checks that segments cover `rows` rows, each with a state of `size` numbers; where it has none, takes zeros. */
export function placed(segments: readonly RecurrentSegment[], rows: number, size: number, what: string): Placed[] {
  let end = 0;
  const result = segments.map(({ tokens, state = new Float32Array(size) }) => {
    if (!(Number.isInteger(tokens) && tokens >= 0))
      throw new RangeError(`${what}: ${tokens} is not a number of tokens`);
    if (state.length !== size) throw new RangeError(`${what}: a state of ${state.length} numbers has not ${size}`);
    end += tokens;
    return { start: end - tokens, tokens, state };
  });
  if (end !== rows) throw new RangeError(`${what}: segments of ${end} tokens do not cover ${rows}`);
  for (const [i, { state }] of result.entries()) {
    if (result.slice(0, i).some((other) => overlap(state, other.state))) {
      throw new RangeError(`${what}: two segments share the memory of a state`);
    }
  }
  return result;
}

/** Throws unless each number is a positive whole one. */
export function checkSizes(sizes: readonly number[], what: string): void {
  const wrong = sizes.find((size) => !(Number.isInteger(size) && size > 0));
  if (wrong !== undefined) throw new RangeError(`${what}: ${wrong} is not a size`);
}

function overlap(a: Float32Array, b: Float32Array): boolean {
  const apart = a.byteOffset + a.byteLength <= b.byteOffset || b.byteOffset + b.byteLength <= a.byteOffset;
  return a.buffer === b.buffer && !apart && a.length > 0 && b.length > 0;
}

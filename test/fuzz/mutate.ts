import type { Random } from "../../src/random.js";

/** Pieces that steer a parser to its special cases. */
const PIECES = [
  ...'{}[]:,"\\-.0 \n\u0000',
  "null",
  "true",
  "NaN",
  "-Infinity",
  "1e400",
  "1.0",
  "-1",
  "9007199254740993",
  "18446744073709551616",
  "4294967296",
  "\\u0000",
  "\\ud800",
  "../",
  "__proto__",
  "__metadata__",
  "constructor",
  '"dtype"',
  '"shape"',
  '"data_offsets"',
  '"weight_map"',
  '"num_experts"',
  '"F4"',
  '"F64"',
  "\ufeff",
  "é😀",
].map((text) => Buffer.from(text));

/** A copy of one of the seeds with 1 to 6 changes: bits, deletions, copies within it and from other seeds, pieces. */
export function mutate(random: Random, seeds: readonly Buffer[]): Buffer {
  let bytes: Buffer = Buffer.from(seeds[random.below(seeds.length)]!);
  const changes = 1 + random.below(6);
  for (let i = 0; i < changes; i++) bytes = change(random, bytes, seeds);
  return bytes;
}

function change(random: Random, bytes: Buffer, seeds: readonly Buffer[]): Buffer {
  const at = random.below(bytes.length + 1);
  const end = Math.min(bytes.length, at + 1 + random.below(1 + random.below(40)));
  switch (random.below(8)) {
    case 0:
      if (at < bytes.length) bytes[at] = bytes[at]! ^ (1 << random.below(8));
      return bytes;
    case 1:
      if (at < bytes.length) bytes[at] = random.below(256);
      return bytes;
    case 2:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)]);
    case 3:
      return Buffer.concat([bytes.subarray(0, end), bytes.subarray(at)]);
    case 4: {
      const other = seeds[random.below(seeds.length)]!;
      const from = random.below(other.length + 1);
      return Buffer.concat([bytes.subarray(0, at), other.subarray(from, from + random.below(60)), bytes.subarray(at)]);
    }
    case 5:
      return replaceNumber(random, bytes);
    case 6:
      return random.below(10) === 0 ? bytes.subarray(0, at) : bytes;
    default: {
      const piece = PIECES[random.below(PIECES.length)]!;
      return Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(random.below(2) === 0 ? at : end)]);
    }
  }
}

/** Changes one of the numbers a little or a lot, which leaves the syntax whole. */
function replaceNumber(random: Random, bytes: Buffer): Buffer {
  const text = bytes.toString("latin1");
  const numbers = [...text.matchAll(/\d+/g)];
  const number = numbers[random.below(numbers.length)];
  if (number === undefined) return bytes;
  const value = Number(number[0]);
  const values = [value + 1, value - 1, value * 2, 0, -value, 2 ** random.below(65), value / 2];
  const replaced = String(values[random.below(values.length)]);
  return Buffer.from(text.slice(0, number.index) + replaced + text.slice(number.index + number[0].length), "latin1");
}

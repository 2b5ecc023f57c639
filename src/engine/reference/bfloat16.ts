/** Values rounded to bfloat16 (round to nearest even), kept in float32. NaN stays NaN. */
export function roundToBfloat16(values: Float32Array): Float32Array {
  const rounded = new Float32Array(values);
  const bits = new Uint32Array(rounded.buffer);
  for (let i = 0; i < bits.length; i++) {
    const value = bits[i]!;
    // Adding to a NaN could carry into its sign, so NaN keeps its bits and only loses the low ones.
    bits[i] = (value & 0x7fffffff) > 0x7f800000 ? (value | 0x00400000) & 0xffff0000 : roundBits(value);
  }
  return rounded;
}

function roundBits(value: number): number {
  return (value + 0x7fff + ((value >>> 16) & 1)) & 0xffff0000;
}

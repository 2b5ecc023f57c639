/** A float format of at most 16 bits: sign, exponent with bias 2^(exponentBits - 1) - 1, mantissa, subnormals. */
export interface SmallFloat {
  readonly exponentBits: number;
  readonly mantissaBits: number;
  /** IEEE 754 infinities and NaNs; without, only the code of all ones is NaN (the `fn` formats, OCP 8-bit FP). */
  readonly infinity: boolean;
}

const tables = new Map<SmallFloat, Uint32Array>();

/** Writes the float32 value of each code to `values`, exactly, NaN payloads included. */
export function decodeSmallFloat(format: SmallFloat, codes: Uint8Array | Uint16Array, values: Float32Array): void {
  let table = tables.get(format);
  if (table === undefined) {
    const size = 2 ** (1 + format.exponentBits + format.mantissaBits);
    table = Uint32Array.from({ length: size }, (_, code) => float32Bits(format, code));
    tables.set(format, table);
  }
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < codes.length; i++) bits[i] = table[codes[i]!]!;
}

function float32Bits(format: SmallFloat, code: number): number {
  const { exponentBits, mantissaBits, infinity } = format;
  const sign = code >>> (exponentBits + mantissaBits) === 1 ? 0x80000000 : 0;
  const exponent = (code >>> mantissaBits) & (2 ** exponentBits - 1);
  const mantissa = code & (2 ** mantissaBits - 1);
  const allOnes = exponent === 2 ** exponentBits - 1;
  if (allOnes && (infinity || mantissa === 2 ** mantissaBits - 1)) {
    return (sign | 0x7f800000 | (mantissa << (23 - mantissaBits))) >>> 0;
  }
  const bias = 2 ** (exponentBits - 1) - 1;
  const fraction = exponent === 0 ? mantissa : mantissa + 2 ** mantissaBits;
  const magnitude = fraction * 2 ** (Math.max(exponent, 1) - bias - mantissaBits);
  return (new Uint32Array(new Float32Array([magnitude]).buffer)[0]! | sign) >>> 0;
}

/** Writes the code nearest to each value to `codes`, ties to even. */
export function encodeSmallFloat(format: SmallFloat, values: Float32Array, codes: Uint8Array | Uint16Array): void {
  const { exponentBits, mantissaBits, infinity } = format;
  const bias = 2 ** (exponentBits - 1) - 1;
  const drop = 23 - mantissaBits;
  const signShift = 31 - exponentBits - mantissaBits;
  const special = (2 ** exponentBits - 1) << mantissaBits;
  const mantissaMask = 2 ** mantissaBits - 1;
  // The first code that is not finite; torch maps overflow to it where it is infinity, else to the largest finite code.
  const overflow = infinity ? special : special | (mantissaMask - 1);
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < bits.length; i++) {
    const sign = (bits[i]! & 0x80000000) >>> signShift;
    const magnitude = bits[i]! & 0x7fffffff;
    let code: number;
    if (magnitude > 0x7f800000) {
      const payload = (magnitude >>> drop) & mantissaMask;
      code = special | (infinity ? payload || 2 ** (mantissaBits - 1) : mantissaMask);
    } else {
      // Exponent of the smallest unit of the result: that of the value, but not below the subnormals'.
      const exponent = (magnitude >>> 23) - 127;
      const lost = drop + Math.max(0, 1 - bias - exponent);
      const full = (magnitude & 0x7fffff) | (magnitude >= 0x00800000 ? 0x800000 : 0);
      const rounded = lost > 25 ? 0 : (full + (2 ** (lost - 1) - 1) + ((full / 2 ** lost) & 1)) / 2 ** lost;
      // A carry out of the mantissa runs into the exponent, as it should.
      const scale = Math.max(exponent + bias - 1, 0);
      code = Math.min(Math.trunc(rounded) + scale * 2 ** mantissaBits, overflow);
    }
    codes[i] = sign | code;
  }
}

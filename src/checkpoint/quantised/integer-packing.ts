/**
 * Integers of 4 or 8 bits in little-endian words of 32, as compressed-tensors' `pack_to_int32`: code + 2^(bits - 1), the
 * first in the lowest bits; the last word of a row is filled up with zero bits.
 */

/** Words that hold so many codes. */
export function packedWords(codes: number, bits: 4 | 8): number {
  return Math.ceil((codes * bits) / 32);
}

/** Codes `[rows, columns]`: bytes of `[rows, packedWords(columns)]`. */
export function packRows(codes: Int8Array, rows: number, columns: number, bits: 4 | 8): Uint8Array {
  const rowBytes = 4 * packedWords(columns, bits);
  const bytes = new Uint8Array(rows * rowBytes);
  const offset = 2 ** (bits - 1);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const code = codes[row * columns + column]! + offset;
      if (bits === 8) bytes[row * rowBytes + column] = code;
      else bytes[row * rowBytes + (column >> 1)]! |= code << (4 * (column & 1));
    }
  }
  return bytes;
}

/** The reverse of `packRows`. */
export function unpackRows(bytes: Uint8Array, rows: number, columns: number, bits: 4 | 8): Int8Array {
  const rowBytes = 4 * packedWords(columns, bits);
  if (bytes.length !== rows * rowBytes) throw new RangeError(`${bytes.length} bytes of ${rows} x ${columns} codes`);
  const codes = new Int8Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const start = row * rowBytes;
    const to = row * columns;
    if (bits === 8) {
      for (let column = 0; column < columns; column++) codes[to + column] = bytes[start + column]! - 128;
    } else {
      for (let column = 0; column < columns; column++) {
        codes[to + column] = ((bytes[start + (column >> 1)]! >> (4 * (column & 1))) & 15) - 8;
      }
    }
  }
  return codes;
}

/** Codes `[rows, columns]` packed along the rows: bytes of `[packedWords(rows), columns]`, as zero points are stored. */
export function packColumns(codes: Int8Array, rows: number, columns: number, bits: 4 | 8): Uint8Array {
  const words = new Int32Array(packedWords(rows, bits) * columns);
  const offset = 2 ** (bits - 1);
  for (let row = 0; row < rows; row++) {
    const start = Math.floor((row * bits) / 32) * columns;
    const shift = (row * bits) % 32;
    for (let column = 0; column < columns; column++)
      words[start + column]! |= (codes[row * columns + column]! + offset) << shift;
  }
  return new Uint8Array(words.buffer);
}

/** The reverse of `packColumns`. */
export function unpackColumns(bytes: Uint8Array, rows: number, columns: number, bits: 4 | 8): Int8Array {
  if (bytes.length !== 4 * packedWords(rows, bits) * columns)
    throw new RangeError(`${bytes.length} bytes of ${rows} x ${columns} codes`);
  const words = new Int32Array(bytes.slice().buffer);
  const codes = new Int8Array(rows * columns);
  const offset = 2 ** (bits - 1);
  for (let row = 0; row < rows; row++) {
    const start = Math.floor((row * bits) / 32) * columns;
    const shift = (row * bits) % 32;
    for (let column = 0; column < columns; column++)
      codes[row * columns + column] = ((words[start + column]! >>> shift) & (2 ** bits - 1)) - offset;
  }
  return codes;
}

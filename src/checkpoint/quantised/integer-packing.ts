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
  const packed = packRows(transposed(codes, rows, columns), columns, rows, bits);
  return bytesOf(transposed(new Int32Array(packed.buffer), columns, packedWords(rows, bits)));
}

/** The reverse of `packColumns`. */
export function unpackColumns(bytes: Uint8Array, rows: number, columns: number, bits: 4 | 8): Int8Array {
  const words = packedWords(rows, bits);
  if (bytes.length !== 4 * words * columns) throw new RangeError(`${bytes.length} bytes of ${rows} x ${columns} codes`);
  const turned = transposed(new Int32Array(bytes.slice().buffer), words, columns);
  return transposed(unpackRows(bytesOf(turned), columns, rows, bits), columns, rows);
}

function bytesOf(words: Int32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

function transposed<T extends Int8Array | Int32Array>(values: T, rows: number, columns: number): T {
  const turned = values.slice() as T;
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) turned[j * rows + i] = values[i * columns + j]!;
  return turned;
}

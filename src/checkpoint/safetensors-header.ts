import { ReamError } from "../errors.js";
import { DTYPE_BITS, isStoredDType } from "./dtypes.js";
import { decodeUtf8 } from "./json.js";
import { JsonScanner, quote } from "./json-scanner.js";
import type { StoredDType, TensorInfo } from "./tensor.js";

/** Longest header that the reference implementation reads. */
export const MAX_HEADER_BYTES = 100_000_000;
/** Most tensors in one file; the largest published checkpoints have about 100,000 in all their files together. */
const MAX_TENSORS = 500_000;
const MAX_RANK = 64;

/** A tensor and the position of its first byte, counted from the end of the header. */
export interface StoredTensor extends TensorInfo {
  readonly offset: number;
}

export interface SafetensorsHeader {
  /** In the order of their data. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly metadata: ReadonlyMap<string, string>;
  /** Bytes of all tensors together: the file must end there. */
  readonly dataBytes: number;
}

/**
 * Parses the JSON header of a safetensors file and checks every rule of the format: known dtypes, sizes that follow from
 * the shapes, data that lies gapless from 0, no key twice. `file` is the name that the tensors get.
 */
export function parseSafetensorsHeader(bytes: Uint8Array, file: string): SafetensorsHeader {
  return new HeaderReader(new JsonScanner(decodeUtf8(bytes, file), file), file).read();
}

/** Reads the header event by event, so that a hostile one is refused before it has become a tree of objects. */
class HeaderReader {
  private readonly tensors: StoredTensor[] = [];
  private readonly metadata = new Map<string, string>();

  constructor(
    private readonly scanner: JsonScanner,
    private readonly file: string,
  ) {}

  read(): SafetensorsHeader {
    const { scanner } = this;
    if (scanner.next() !== "{") throw this.error("SAFETENSORS_HEADER", "the header is not a JSON object");
    while (scanner.next() === "key") {
      if (scanner.value === "__metadata__") this.readMetadata();
      else this.readTensor(scanner.value as string);
    }
    scanner.next();
    return this.layOut();
  }

  private readMetadata(): void {
    const { scanner } = this;
    if (scanner.next() !== "{") throw this.error("SAFETENSORS_HEADER", "__metadata__ is not an object");
    while (scanner.next() === "key") {
      const key = scanner.value as string;
      if (scanner.next() !== "string")
        throw this.error("SAFETENSORS_HEADER", `__metadata__ ${quote(key)} is not a string`);
      this.metadata.set(key, scanner.value as string);
    }
  }

  private readTensor(name: string): void {
    const { scanner } = this;
    if (this.tensors.length === MAX_TENSORS) throw this.error("SAFETENSORS_HEADER", `more than ${MAX_TENSORS} tensors`);
    if (scanner.next() !== "{") throw this.error("SAFETENSORS_HEADER", "a tensor is not described by an object", name);
    let dtype: StoredDType | undefined;
    let shape: number[] | undefined;
    let offsets: number[] | undefined;
    while (scanner.next() === "key") {
      const key = scanner.value;
      scanner.next();
      if (key === "dtype") dtype = this.readDType(name);
      else if (key === "shape") shape = this.readIntegers(name, "shape", MAX_RANK);
      else if (key === "data_offsets") offsets = this.readIntegers(name, "data_offsets", 2);
      else
        throw this.error(
          "SAFETENSORS_HEADER",
          `unknown key ${quote(String(key))} beside dtype, shape, data_offsets`,
          name,
        );
    }
    if (dtype === undefined || shape === undefined || offsets === undefined || offsets.length !== 2) {
      throw this.error("SAFETENSORS_HEADER", "dtype, shape or one of the two data_offsets is missing", name);
    }
    const bytes = this.byteSize(name, dtype, shape);
    const [begin, end] = offsets as [number, number];
    if (end - begin !== bytes) {
      const what = `data_offsets [${begin}, ${end}] do not span the ${bytes} bytes of ${dtype} [${shape.join(", ")}]`;
      throw this.error("SAFETENSORS_OFFSETS", what, name);
    }
    this.tensors.push({ name, dtype, shape, file: this.file, bytes, offset: begin });
  }

  private readDType(name: string): StoredDType {
    const { value } = this.scanner;
    if (this.scanner.event !== "string" || !isStoredDType(value as string)) {
      throw this.error("SAFETENSORS_DTYPE", `unknown dtype ${quote(String(value))}`, name);
    }
    return value as StoredDType;
  }

  private readIntegers(name: string, key: string, most: number): number[] {
    const { scanner } = this;
    if (scanner.event !== "[") throw this.error("SAFETENSORS_HEADER", `${key} is not a list`, name);
    const values: number[] = [];
    for (let event = scanner.next(); event !== "]"; event = scanner.next()) {
      const value = scanner.value as number;
      if (event !== "number" || !scanner.exact || value < 0) {
        throw this.error("SAFETENSORS_HEADER", `${key} holds something that is no whole number from 0 to 2^53`, name);
      }
      if (values.length === most) throw this.error("SAFETENSORS_HEADER", `${key} has more than ${most} numbers`, name);
      values.push(value);
    }
    return values;
  }

  private byteSize(name: string, dtype: StoredDType, shape: readonly number[]): number {
    // 64 bits an element at most: below this limit, every product is exact in a double.
    const limit = Number.MAX_SAFE_INTEGER / 64;
    let elements = 1;
    for (const size of shape) {
      elements *= size;
      if (elements > limit) throw this.error("SAFETENSORS_SHAPE", `the shape [${shape.join(", ")}] is too large`, name);
    }
    const bits = elements * DTYPE_BITS[dtype];
    if (bits % 8 !== 0) {
      throw this.error("SAFETENSORS_SHAPE", `${elements} values of ${dtype} do not fill whole bytes`, name);
    }
    return bits / 8;
  }

  /** Sorts the tensors by position and checks that each begins where the one before ends. */
  private layOut(): SafetensorsHeader {
    this.tensors.sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
    let end = 0;
    for (const { name, offset, bytes } of this.tensors) {
      if (offset !== end) {
        const what =
          offset < end ? "overlaps the tensor before it" : `leaves a hole of ${offset - end} bytes before it`;
        throw this.error("SAFETENSORS_OFFSETS", `a tensor ${what}`, name);
      }
      end = offset + bytes;
    }
    const tensors = new Map(this.tensors.map((tensor) => [tensor.name, tensor]));
    return { tensors, metadata: this.metadata, dataBytes: end };
  }

  private error(code: string, message: string, tensor?: string): ReamError {
    return new ReamError(code, message, {
      where: tensor === undefined ? this.file : `${this.file}, tensor ${quote(tensor)}`,
      hint: "The file is damaged or not a safetensors file; fetch it again.",
    });
  }
}

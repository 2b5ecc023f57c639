import { readSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { basename } from "node:path";
import { ReamError } from "../errors.js";
import { isDType } from "./dtypes.js";
import { FilePool } from "./file-pool.js";
import { quote } from "./json-scanner.js";
import {
  MAX_HEADER_BYTES,
  parseSafetensorsHeader,
  type SafetensorsHeader,
  type StoredTensor,
} from "./safetensors-header.js";
import type { Tensor } from "./tensor.js";

/** Largest tensor that is read into one array. */
const MAX_TENSOR_BYTES = 2 ** 31;
/** Bytes of a single system call, and of a chunk. */
const MAX_READ_BYTES = 2 ** 30;
/** Most bytes that are read while the program waits. */
const SMALL_READ_BYTES = 2 ** 20;
const CHUNK_BYTES = 8 * 2 ** 20;

/** An open safetensors file. Its header has been checked; data is read at its position when it is asked for. */
export class SafetensorsFile {
  private constructor(
    readonly path: string,
    private readonly header: SafetensorsHeader,
    /** Position of the first byte of data. */
    private readonly dataStart: number,
    private readonly pool: FilePool,
  ) {}

  /** Opens a file and checks its header and its length. `name`: the file's name in the tensors and in errors. */
  static async open(path: string, name = basename(path), pool?: FilePool): Promise<SafetensorsFile> {
    const own = pool ?? new FilePool(1);
    try {
      return await own.use(path, (handle) => SafetensorsFile.readHeader(path, name, own, handle));
    } catch (error) {
      if (pool === undefined) await own.close();
      throw error;
    }
  }

  private static async readHeader(
    path: string,
    name: string,
    pool: FilePool,
    handle: FileHandle,
  ): Promise<SafetensorsFile> {
    const { size } = await handle.stat();
    if (size < 8) throw lengthError(name, `${size} bytes are too few for a safetensors file`);
    const prefix = await readFully(handle, 0, new Uint8Array(8), name);
    const headerBytes = new DataView(prefix.buffer).getBigUint64(0, true);
    if (headerBytes > MAX_HEADER_BYTES) {
      const message = `a header of ${headerBytes} bytes, at most ${MAX_HEADER_BYTES} are allowed`;
      throw new ReamError("SAFETENSORS_HEADER_LENGTH", message, {
        where: name,
        hint: "This is no safetensors file, or it is damaged; fetch it again.",
      });
    }
    const dataStart = 8 + Number(headerBytes);
    if (dataStart > size) throw lengthError(name, `the header ends at byte ${dataStart}, the file at ${size}`);
    const header = parseSafetensorsHeader(await readFully(handle, 8, new Uint8Array(dataStart - 8), name), name);
    const end = dataStart + header.dataBytes;
    if (end !== size) throw lengthError(name, `header and tensors take ${end} bytes, the file has ${size}`);
    return new SafetensorsFile(path, header, dataStart, pool);
  }

  /** All tensors, in the order of their data. */
  get tensors(): ReadonlyMap<string, StoredTensor> {
    return this.header.tensors;
  }

  /** The strings of `__metadata__`. */
  get metadata(): ReadonlyMap<string, string> {
    return this.header.metadata;
  }

  /** What is known of a tensor, else `TENSOR_MISSING`. */
  info(name: string): StoredTensor {
    const info = this.tensors.get(name);
    if (info === undefined) {
      throw new ReamError("TENSOR_MISSING", `there is no tensor ${quote(name)}`, { where: this.path });
    }
    return info;
  }

  /**
   * Reads a tensor, or its rows `[begin, end)` along the first axis, into `into` where given (its beginning is used).
   * More than 2 GiB, or a dtype that this program only copies, is refused: see `chunks`.
   */
  async read(
    name: string,
    rows?: readonly [begin: number, end: number],
    into?: Uint8Array<ArrayBuffer>,
  ): Promise<Tensor> {
    const info = this.info(name);
    const { dtype } = info;
    const where = `${info.file}, tensor ${quote(name)}`;
    if (!isDType(dtype)) {
      throw new ReamError("TENSOR_DTYPE", `tensors of type ${dtype} can be copied but not computed with`, { where });
    }
    let { shape, bytes, offset } = info;
    if (rows !== undefined) {
      const [begin, end] = rows;
      const count = shape[0];
      if (
        count === undefined ||
        !(Number.isInteger(begin) && Number.isInteger(end) && 0 <= begin && begin <= end && end <= count)
      ) {
        throw new RangeError(`rows ${begin} to ${end} of ${name} [${shape.join(", ")}]`);
      }
      const rowBytes = count === 0 ? 0 : bytes / count;
      shape = [end - begin, ...shape.slice(1)];
      offset += begin * rowBytes;
      bytes = (end - begin) * rowBytes;
    }
    if (bytes > MAX_TENSOR_BYTES) {
      throw new ReamError("TENSOR_TOO_LARGE", `${bytes} bytes are more than the 2 GiB that are read at once`, {
        where,
        hint: "Read it by row ranges.",
      });
    }
    if (into !== undefined && into.byteLength < bytes)
      throw new RangeError(`${into.byteLength} bytes cannot hold ${bytes}`);
    const buffer = into?.subarray(0, bytes) ?? new Uint8Array(bytes);
    const data = await this.pool.use(this.path, (handle) =>
      readFully(handle, this.dataStart + offset, buffer, info.file),
    );
    return { dtype, shape, data };
  }

  /**
   * Yields the bytes of a tensor of any dtype and size in order, for copying. The array is reused: it holds its bytes
   * only until the next step.
   */
  async *chunks(name: string): AsyncGenerator<Uint8Array> {
    const { offset, bytes, file } = this.info(name);
    const buffer = new Uint8Array(Math.min(bytes, CHUNK_BYTES));
    for (let done = 0; done < bytes; done += buffer.length) {
      const chunk = buffer.subarray(0, Math.min(buffer.length, bytes - done));
      yield await this.pool.use(this.path, (handle) => readFully(handle, this.dataStart + offset + done, chunk, file));
    }
  }

  /**
   * Reads a tensor so that the system's cache has it; the bytes are not kept. All reads are handed out at once, because the
   * thread that computes has no time to ask for the next one: they overwrite each other in the scratch.
   */
  async touch(name: string, scratch: Uint8Array<ArrayBuffer>): Promise<void> {
    const { offset, bytes } = this.info(name);
    await this.pool.use(this.path, async (handle) => {
      const reads = [];
      for (let done = 0; done < bytes; done += scratch.length) {
        const length = Math.min(scratch.length, bytes - done);
        reads.push(handle.read(scratch, 0, length, this.dataStart + offset + done));
      }
      await Promise.all(reads);
    });
  }

  /** Closes the file, and the caller's pool where it was opened with one. */
  async close(): Promise<void> {
    await this.pool.close();
  }
}

/**
 * Fills the buffer from a position on, however many reads it takes. Small ones are read at once: to hand them to another
 * thread and be woken takes longer than the read, and a layer has hundreds.
 */
async function readFully(
  handle: FileHandle,
  position: number,
  buffer: Uint8Array<ArrayBuffer>,
  name: string,
): Promise<Uint8Array<ArrayBuffer>> {
  for (let done = 0; done < buffer.length; ) {
    const length = Math.min(buffer.length - done, MAX_READ_BYTES);
    const bytesRead =
      length <= SMALL_READ_BYTES
        ? readSync(handle.fd, buffer, done, length, position + done)
        : (await handle.read(buffer, done, length, position + done)).bytesRead;
    if (bytesRead === 0) {
      throw new ReamError("SAFETENSORS_TRUNCATED", "the file was truncated while it was read", {
        where: name,
        hint: "Wait until whatever writes it is done, or fetch it again.",
      });
    }
    done += bytesRead;
  }
  return buffer;
}

function lengthError(name: string, message: string): ReamError {
  return new ReamError("SAFETENSORS_LENGTH", message, {
    where: name,
    hint: "The file is incomplete or has something appended; fetch it again.",
  });
}

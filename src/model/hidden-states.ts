import { closeSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { writeError } from "../checkpoint/durable.js";
import { pickRows } from "../compress/rows.js";
import { ReamError } from "../errors.js";
import type { ModelDescription } from "./description.js";
import type { TokenBatch } from "./layer.js";

/** The hidden states of every batch, `[tokens, size]` each, which one layer after the other replaces. */
export interface HiddenStates {
  /** Batches. */
  readonly count: number;
  /** Numbers of a batch. */
  length(batch: number): number;
  /** Those of a batch; nobody changes the array. */
  get(batch: number): Float32Array;
  /** Some rows `[rows, size]` of a batch. */
  rows(batch: number, rows: Int32Array, size: number): Float32Array;
  /** Replaces those of a batch. Errors: OUTPUT_WRITE. */
  set(batch: number, states: Float32Array): void;
  close(): void;
}

/** Numbers of a token that there are at most: between the halves of a parallel layer it has two rows. */
export function mostStates({ layers, hiddenSize }: Pick<ModelDescription, "layers" | "hiddenSize">): number {
  return layers.some(({ parallel }) => parallel) ? 2 * hiddenSize : hiddenSize;
}

/**
 * Room for the hidden states of some batches. Errors: OUTPUT_WRITE.
 *
 * @param path of the file that they are kept in; undefined: they are in memory
 */
export function openStates(
  model: Pick<ModelDescription, "layers" | "hiddenSize">,
  batches: readonly TokenBatch[],
  path: string | undefined,
): HiddenStates {
  if (path === undefined) return new StatesInMemory(batches.map(() => new Float32Array(0)));
  return new StatesInFile(
    path,
    batches.map(({ ids }) => ids.length * mostStates(model)),
  );
}

export class StatesInMemory implements HiddenStates {
  /** @param batches as they are at first */
  constructor(private readonly batches: Float32Array[]) {}

  get count(): number {
    return this.batches.length;
  }

  length(batch: number): number {
    return this.batches[batch]!.length;
  }

  get(batch: number): Float32Array {
    return this.batches[batch]!;
  }

  rows(batch: number, rows: Int32Array, size: number): Float32Array {
    return pickRows(this.batches[batch]!, rows, size);
  }

  set(batch: number, states: Float32Array): void {
    this.batches[batch] = states;
  }

  close(): void {
    this.batches.length = 0;
  }
}

/**
 * Hidden states that are more than the memory holds: in a file, of which one batch is in memory at a time. The same bits
 * come back. A crash leaves a file that means nothing: it is begun anew.
 */
export class StatesInFile implements HiddenStates {
  private readonly file: number;
  /** Where each batch begins, in bytes, and the end. */
  private readonly starts: number[] = [0];
  /** Numbers that each batch has. */
  private readonly lengths: number[];

  /**
   * @param path is written anew, and removed in the end
   * @param lengths numbers that each batch has at most (`mostStates`)
   * @throws ReamError OUTPUT_WRITE
   */
  constructor(
    private readonly path: string,
    lengths: readonly number[],
  ) {
    this.lengths = [...lengths];
    for (const length of lengths) this.starts.push(this.starts.at(-1)! + 4 * length);
    try {
      this.file = openSync(path, "w+");
    } catch (error) {
      throw writeError(error, path);
    }
  }

  get count(): number {
    return this.lengths.length;
  }

  length(batch: number): number {
    return this.lengths[batch]!;
  }

  get(batch: number): Float32Array {
    const states = new Float32Array(this.lengths[batch]!);
    this.read(states, this.starts[batch]!);
    return states;
  }

  rows(batch: number, rows: Int32Array, size: number): Float32Array {
    const picked = new Float32Array(rows.length * size);
    for (const [i, row] of rows.entries())
      this.read(picked.subarray(i * size, (i + 1) * size), this.starts[batch]! + 4 * row * size);
    return picked;
  }

  set(batch: number, states: Float32Array): void {
    const bytes = new Uint8Array(states.buffer, states.byteOffset, states.byteLength);
    if (this.starts[batch]! + bytes.length > this.starts[batch + 1]!)
      throw new RangeError(`${states.length} hidden states where there is room for fewer`);
    try {
      for (let done = 0; done < bytes.length; )
        done += writeSync(this.file, bytes, done, bytes.length - done, this.starts[batch]! + done);
    } catch (error) {
      throw writeError(error, this.path);
    }
    this.lengths[batch] = states.length;
  }

  close(): void {
    closeSync(this.file);
    rmSync(this.path, { force: true });
  }

  private read(values: Float32Array, from: number): void {
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    for (let done = 0; done < bytes.length; ) {
      const read = readSync(this.file, bytes, done, bytes.length - done, from + done);
      if (read === 0) throw new ReamError("FILE_TRUNCATED", "hidden states are missing", { where: this.path });
      done += read;
    }
  }
}

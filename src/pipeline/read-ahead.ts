import type { Checkpoint } from "../checkpoint/checkpoint.js";
import type { LayerDescription } from "../model/description.js";

/** Bytes of a read, and of the memory that it takes. */
const SCRATCH_BYTES = 8 * 2 ** 20;
/** Memory that has to be available, in sizes of what is read: the system would throw away the first part for the last. */
const ROOM = 2;

/**
 * Has the system read the next layer's tensors into its cache while a layer is computed. That takes no memory of the program,
 * and none that the system could not take back: where there is little of it nothing is read ahead.
 */
export class ReadAhead {
  private reading: Promise<void> = Promise.resolve();
  /** Layers whose tensors were asked for. */
  private readonly done = new Set<number>();

  constructor(
    private readonly checkpoint: Checkpoint,
    private readonly available: () => number = () => process.availableMemory(),
  ) {}

  /** Starts to read a layer, once; returns at once. */
  start({ index, prefix }: LayerDescription): void {
    if (this.done.has(index)) return;
    this.done.add(index);
    const own = [...this.checkpoint.tensors.values()].filter(({ name }) => name.startsWith(prefix));
    if (own.reduce((sum, { bytes }) => sum + bytes, 0) * ROOM > this.available()) return;
    const names = own.map(({ name }) => name);
    // What cannot be read is told by the read that needs it.
    this.reading = this.checkpoint.touch(names, new Uint8Array(SCRATCH_BYTES)).catch(() => undefined);
  }

  /** Returns when nothing is read any more: the checkpoint may be closed. */
  async end(): Promise<void> {
    await this.reading;
  }
}

/**
 * Arrays that tensors are read into, for the next layer to be read into them again: fresh memory costs more time than reading
 * from the system's cache does, and the last layer's arrays would stay until the garbage collector comes.
 */
export class ReadBuffers {
  /** By size. */
  private readonly free = new Map<number, Uint8Array<ArrayBuffer>[]>();
  private taken: Uint8Array<ArrayBuffer>[] = [];

  /** An array of this size, with any content. It is the caller's until `reuse`. */
  take(bytes: number): Uint8Array<ArrayBuffer> {
    const buffer = this.free.get(bytes)?.pop() ?? new Uint8Array(bytes);
    this.taken.push(buffer);
    return buffer;
  }

  /** Ends the use of all that was taken: it will be overwritten. What nobody took in between is given up. */
  reuse(): void {
    this.free.clear();
    for (const buffer of this.taken) {
      const same = this.free.get(buffer.length);
      if (same === undefined) this.free.set(buffer.length, [buffer]);
      else same.push(buffer);
    }
    this.taken = [];
  }
}

/** Most bytes that are kept. */
const MOST_BYTES = 2 ** 28;

/** What is needed again in every sweep, as much as fits; the rest is made again. */
export class Kept {
  private readonly known = new Map<string, unknown>();
  private bytes = 0;

  /** @param size in bytes of what is made */
  take<T>(key: string, make: () => T, size: (made: T) => number): T {
    const known = this.known.get(key);
    if (known !== undefined) return known as T;
    const made = make();
    const bytes = size(made);
    if (this.bytes + bytes > MOST_BYTES) return made;
    this.bytes += bytes;
    this.known.set(key, made);
    return made;
  }
}

import type { Piece } from "../../compress/reconstruct/problem.js";

/** Pieces that are kept from one sweep to the next, as many as fit; the others are made again. */
export class PieceCache {
  private readonly kept = new Map<string, Piece[]>();
  private bytes = 0;

  constructor(private readonly most: number) {}

  *take(key: string, make: () => Iterable<Piece>): Generator<Piece> {
    const known = this.kept.get(key);
    if (known !== undefined) {
      yield* known;
      return;
    }
    const pieces: Piece[] | undefined = this.bytes < this.most ? [] : undefined;
    let size = 0;
    for (const piece of make()) {
      size += piece.values.byteLength;
      pieces?.push(piece);
      yield piece;
    }
    if (pieces === undefined || this.bytes + size > this.most) return;
    this.kept.set(key, pieces);
    this.bytes += size;
  }
}

import { decode } from "../checkpoint/dtypes.js";
import type { ExpertTensors } from "../engine/backend.js";

/** Matrices of an expert in float32, in arrays that the next expert gets too. */
export class DecodedExpert {
  /** Gate, where there is one, and up `[width, hidden]`. */
  rows: Float32Array[] = [];
  /** `[hidden, width]` */
  down = new Float32Array(0);
  width = 0;

  of({ gate, up, down }: ExpertTensors): this {
    this.width = up.shape[0]!;
    const parts = gate === undefined ? [up] : [gate, up];
    this.rows = parts.map((part, i) => decode(part, this.rows[i]));
    this.down = decode(down, this.down.length > 0 ? this.down : undefined) as Float32Array<ArrayBuffer>;
    return this;
  }
}

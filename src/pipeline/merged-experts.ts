import type { Tensor } from "../checkpoint/tensor.js";
import type { MoeLayer } from "../model/description.js";

/** Bytes of merged experts that are kept for a layer's other tensors: the next layer is computed meanwhile. */
const KEPT_BYTES = 2 ** 28;

/**
 * Merged experts as the tensors of the output need them. Separate tensors of an expert follow one another in a file, so
 * that the last one is enough. Stacked ones go through all experts of the layer, one tensor after the other: of these as
 * many are kept as fit, and the others are made again each time.
 */
export class MergedExperts<Expert> {
  private layer: number | undefined;
  private readonly kept = new Map<number, Expert>();
  private bytes = 0;
  private last: { readonly slot: number; readonly expert: Expert } | undefined;

  constructor(
    private readonly merge: (layer: MoeLayer, slot: number) => Promise<Expert>,
    private readonly tensors: (expert: Expert) => Iterable<Tensor | undefined>,
    private readonly most = KEPT_BYTES,
  ) {}

  /** The expert of a slot of a layer. `again`: it is merged, and other tensors of the layer will ask for it after those of other slots. */
  async take(layer: MoeLayer, slot: number, again: boolean): Promise<Expert> {
    if (this.layer !== layer.index) this.clear(layer.index);
    const known = this.kept.get(slot) ?? (this.last?.slot === slot ? this.last.expert : undefined);
    if (known !== undefined) return known;
    const expert = await this.merge(layer, slot);
    this.last = { slot, expert };
    const size = [...this.tensors(expert)].reduce((sum, tensor) => sum + (tensor?.data.length ?? 0), 0);
    if (again && this.bytes + size <= this.most) {
      this.kept.set(slot, expert);
      this.bytes += size;
    }
    return expert;
  }

  private clear(layer: number): void {
    this.layer = layer;
    this.kept.clear();
    this.bytes = 0;
    this.last = undefined;
  }
}

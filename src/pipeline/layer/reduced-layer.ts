import { setImmediate as nextTurn } from "node:timers/promises";
import { decode } from "../../checkpoint/dtypes.js";
import { mergeGroup, pickRouter } from "../../compress/merge.js";
import { type Group, groupOf, isMerged, type LayerPlan } from "../../compress/plan.js";
import type { Experts, ExpertTensors } from "../../engine/backend.js";
import type { MoeDescription } from "../../model/description.js";
import { codingOf, type ExpertCoding, type StoredExpert } from "../../model/expert-coding.js";
import type { MoeTensors, StoredExperts } from "../../model/moe.js";
import type { LayerLoopOptions } from "../layer-loop.js";
import type { StoredForm } from "../reconstruct/stored-refit.js";
import { requantiseGroup } from "../requantise.js";

/** What a plan makes of a layer's experts and router, as later layers see them. */
export class ReducedLayer {
  /** How experts of a quantised source are stored again. */
  private readonly coding: ExpertCoding | undefined;
  private readonly scales: Float32Array | undefined;

  constructor(
    private readonly options: LayerLoopOptions,
    readonly moe: MoeDescription,
    /** Of the original layer. */
    readonly tensors: MoeTensors,
    readonly plan: LayerPlan,
  ) {
    const { expertScale } = tensors;
    this.coding = options.requantises ? codingOf(options.checkpoint, moe.experts) : undefined;
    this.scales = expertScale && decode(expertScale);
  }

  /** The expert of a slot, refitted where the layer is, before steps. */
  async expert(slot: number): Promise<ExpertTensors> {
    const { refit, backend } = this.options;
    const stored = await refit?.files.stored(this.plan.layer, slot);
    if (stored !== undefined) return this.coding!.decode(stored, backend);
    const merged = await this.merged(slot);
    return refit?.files.expert(this.plan.layer, slot, merged) ?? merged;
  }

  /** How the kept experts of a quantised source are stored; undefined: they are floats. */
  async storedForm(): Promise<StoredForm | undefined> {
    const { coding, plan } = this;
    if (coding === undefined) return undefined;
    const { backend, checkpoint } = this.options;
    const members: StoredExpert[][] = [];
    for (const expert of plan.keptExperts) {
      const read = groupOf(plan, expert).members.map((member) => coding.read(checkpoint, member));
      members.push(await Promise.all(read));
    }
    return {
      original: async (slot) => {
        const group = groupOf(plan, plan.keptExperts[slot]!);
        return (await requantiseGroup(backend, coding, checkpoint, group, this.merging)).stored;
      },
      encode: (slot, expert) => coding.encode(backend, expert, members[slot]!),
      decode: (stored) => coding.decode(stored, backend),
    };
  }

  /** All experts, before a refit. */
  get mergedExperts(): StoredExperts {
    return { count: this.plan.keptExperts.length, read: (slot) => this.merged(slot) };
  }

  /** The same, ready for products. Those that stay as they are share the memory of the original's. */
  async readyExperts(original: Experts): Promise<Experts> {
    const ready = original.empty();
    try {
      for (const [slot, expert] of this.plan.keptExperts.entries()) {
        if (isMerged(groupOf(this.plan, expert))) ready.add(await this.merged(slot));
        else ready.share(original, expert);
        await nextTurn();
      }
      return ready;
    } catch (error) {
      ready.dispose();
      throw error;
    }
  }

  private get merging() {
    return { when: this.options.settings.rounding, scales: this.scales };
  }

  /** A group as one expert: of a quantised source rounded to its form again where it was merged. */
  async group(group: Group): Promise<ExpertTensors> {
    const { backend, checkpoint, mergedDtype } = this.options;
    const { coding, merging } = this;
    if (coding === undefined || !isMerged(group))
      return mergeGroup(backend, group, this.tensors.experts.read, { ...merging, dtype: mergedDtype });
    const { stored } = await requantiseGroup(backend, coding, checkpoint, group, merging);
    return coding.decode(stored, backend);
  }

  /** The router's rows of the kept experts, as they were. */
  pickedRouter() {
    return pickRouter(this.tensors, this.plan.keptExperts);
  }

  /** The router, fitted where the layer's is. */
  async router() {
    const picked = this.pickedRouter();
    return this.options.router?.files.router(this.plan.layer, picked) ?? picked;
  }

  private merged(slot: number): Promise<ExpertTensors> {
    return this.group(groupOf(this.plan, this.plan.keptExperts[slot]!));
  }
}

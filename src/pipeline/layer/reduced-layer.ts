import { decode } from "../../checkpoint/dtypes.js";
import { mergeGroup, pickRouter } from "../../compress/merge.js";
import { type Group, groupOf, isMerged, type LayerPlan } from "../../compress/plan.js";
import type { ExpertTensors } from "../../engine/backend.js";
import type { MoeDescription } from "../../model/description.js";
import { codingOf, type ExpertCoding } from "../../model/expert-coding.js";
import type { MoeTensors } from "../../model/moe.js";
import type { LayerLoopOptions } from "../layer-loop.js";
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
    const merged = await this.merged(slot);
    return this.options.refit?.files.expert(this.plan.layer, slot, merged) ?? merged;
  }

  /** All experts, before a refit. */
  async mergedExperts(): Promise<ExpertTensors[]> {
    const experts: ExpertTensors[] = [];
    for (const slot of this.plan.keptExperts.keys()) experts.push(await this.merged(slot));
    return experts;
  }

  /** A group as one expert: of a quantised source rounded to its form again where it was merged. */
  async group(group: Group): Promise<ExpertTensors> {
    const { backend, checkpoint, settings, mergedDtype } = this.options;
    const { coding, scales } = this;
    const merging = { when: settings.rounding, scales };
    const read = (expert: number) => this.tensors.experts[expert]!;
    if (coding === undefined || !isMerged(group))
      return mergeGroup(backend, group, read, { ...merging, dtype: mergedDtype });
    const { stored } = await requantiseGroup(backend, coding, checkpoint, group, merging, read);
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

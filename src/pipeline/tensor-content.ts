import { convert, encodeFinite } from "../checkpoint/convert.js";
import { decode } from "../checkpoint/dtypes.js";
import { quote } from "../checkpoint/json-scanner.js";
import type { ShardTensor } from "../checkpoint/shard-writer.js";
import type { DType, Tensor } from "../checkpoint/tensor.js";
import { pickTensorRows } from "../checkpoint/tensor-rows.js";
import { mergeGroup } from "../compress/merge.js";
import { type BlockPlan, groupOf, isMerged, type LayerPlan, type Plan } from "../compress/plan.js";
import { formatOf } from "../compress/steps/step.js";
import type { Share } from "../compress/steps/step-error.js";
import type { Backend, ExpertTensors } from "../engine/backend.js";
import { ReamError } from "../errors.js";
import { attentionExperts, type MoeLayer, type RoutedExperts } from "../model/description.js";
import { codingOf, type ExpertCoding, type StoredExpert } from "../model/expert-coding.js";
import type { LinearWeight } from "../model/linear-weights.js";
import { readExpertScales } from "../model/moe.js";
import { readWeight } from "../model/read-weight.js";
import { MergedExperts } from "./merged-experts.js";
import type { OpenedModel } from "./open-model.js";
import type { Block, OutputTensor } from "./output-layout.js";
import type { OutputTarget } from "./output-target.js";
import type { RefitWork } from "./reconstruct/open-refit.js";
import { requantiseGroup } from "./requantise.js";
import type { RouterWork } from "./router/open-router.js";
import { type StepWork, steppedExpert } from "./steps/layer-steps.js";
import { steppedWeights } from "./steps/step-plan.js";

export interface ContentOptions {
  readonly opened: OpenedModel;
  /** At least the layers of the tensors that are asked for. */
  readonly plan: Pick<Plan, "layers" | "rounding">;
  readonly backend: Backend;
  readonly mergedDtype: OutputTarget["mergedDtype"];
  /** What was done to single matrices, all of it done. */
  readonly steps?: StepWork | undefined;
  /** How experts were refitted, all of them. */
  readonly refit?: RefitWork | undefined;
  /** How routers were fitted, all of them. */
  readonly router?: RouterWork | undefined;
  /** Told what rounding a merged expert of a quantised source anew lost. */
  readonly onRequantised?: ((layer: number, slot: number, error: Share) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Makes the bytes of output tensors when their turn comes. */
export class TensorContent {
  private readonly plans: ReadonlyMap<number, LayerPlan>;
  private readonly experts: Readonly<Record<Block, MergedExperts<ExpertTensors>>>;
  private readonly storedExperts: MergedExperts<StoredExpert>;
  private readonly codings = new Map<MoeLayer, ExpertCoding>();
  private readonly stepped = new Map<number, readonly LinearWeight[]>();

  constructor(private readonly options: ContentOptions) {
    this.plans = new Map(options.plan.layers.map((layer) => [layer.layer, layer]));
    const attention = new MergedExperts<ExpertTensors>(
      (layer, slot) => this.merged(this.planOf(layer.index, "attention"), attentionExperts(layer)!, slot),
      Object.values,
    );
    const feedForward = new MergedExperts<ExpertTensors>(async (layer, slot) => {
      const merged = await this.merged(this.planOf(layer.index, "feed-forward"), layer.feedForward, slot);
      const { steps, refit } = options;
      const reduced = refit === undefined ? merged : await refit.files.expert(layer.index, slot, merged);
      // Quantised matrices are tensors by themselves and do not ask for experts.
      if (steps === undefined || formatOf(steps.plan.steps) !== undefined) return reduced;
      return steppedExpert(steps.files, this.steppedWeights(layer, steps), layer, slot, reduced);
    }, Object.values);
    this.experts = { attention, "feed-forward": feedForward };
    this.storedExperts = new MergedExperts(
      (layer, slot) => this.requantised(layer, slot),
      (stored) => stored.values(),
    );
  }

  private planOf(layer: number, of: Block): BlockPlan {
    const plan = this.plans.get(layer)!;
    return of === "attention" ? plan.attention! : plan;
  }

  /** The expert of a slot of a block, before anything else is done to it. */
  private async merged(plan: BlockPlan, { experts, router }: RoutedExperts, slot: number): Promise<ExpertTensors> {
    const { backend, opened, mergedDtype: dtype } = this.options;
    const read = (expert: number) => experts.read(opened.checkpoint, expert, backend);
    const group = groupOf(plan, plan.keptExperts[slot]!);
    const scales = await readExpertScales(opened.checkpoint, router);
    return mergeGroup(backend, group, read, { when: this.options.plan.rounding, dtype, scales });
  }

  /** The expert of a slot in the form of a quantised source. */
  private async requantised(layer: MoeLayer, slot: number): Promise<StoredExpert> {
    const { backend, opened, plan, refit, onRequantised } = this.options;
    const refitted = await refit?.files.stored(layer.index, slot);
    if (refitted !== undefined) return refitted;
    const own = this.planOf(layer.index, "feed-forward");
    const group = groupOf(own, own.keptExperts[slot]!);
    const coding = this.codings.get(layer) ?? codingOf(opened.checkpoint, layer.feedForward.experts)!;
    this.codings.set(layer, coding);
    const scales = await readExpertScales(opened.checkpoint, layer.feedForward.router);
    const merging = { when: plan.rounding, scales };
    const { stored, error } = await requantiseGroup(backend, coding, opened.checkpoint, group, merging);
    if (error !== undefined) onRequantised?.(layer.index, slot, error);
    return stored;
  }

  /** The matrices of a layer that the steps changed: every expert of it asks. */
  private steppedWeights(layer: MoeLayer, { kept, plan }: StepWork): readonly LinearWeight[] {
    const known = this.stepped.get(layer.index) ?? steppedWeights(layer, kept, plan);
    this.stepped.set(layer.index, known);
    return known;
  }

  /** Whether other tensors ask for an expert again that takes more than reading. */
  private isAskedAgain(output: Extract<OutputTensor, { kind: "expert" | "stored" }>, slot: number): boolean {
    const plan = this.planOf(output.layer.index, output.kind === "expert" ? output.of : "feed-forward");
    return output.slots.length > 1 && isMerged(groupOf(plan, plan.keptExperts[slot]!));
  }

  /** The tensors of a file, ready to be written. @param onBytes told of what has been made */
  shard(tensors: readonly OutputTensor[], onBytes: (bytes: number) => void = () => undefined): ShardTensor[] {
    const told = async function* (chunks: AsyncIterable<Uint8Array>) {
      for await (const chunk of chunks) {
        yield chunk;
        onBytes(chunk.length);
      }
    };
    return tensors.map((tensor) => ({ ...tensor, data: () => told(this.of(tensor)) }));
  }

  private async *of(output: OutputTensor): AsyncGenerator<Uint8Array> {
    const { opened, signal } = this.options;
    const { checkpoint } = opened;
    signal?.throwIfAborted();
    if (output.kind === "expert") {
      for (const slot of output.slots) {
        signal?.throwIfAborted();
        const expert = await this.experts[output.of].take(output.layer, slot, this.isAskedAgain(output, slot));
        yield convert(output.tensor(expert), output.dtype as DType).data;
      }
    } else if (output.kind === "stored") {
      for (const slot of output.slots) {
        signal?.throwIfAborted();
        const stored = await this.storedExperts.take(output.layer, slot, this.isAskedAgain(output, slot));
        yield stored.get(output.part)!.data;
      }
    } else if (output.kind === "decoded") {
      const decoded = await readWeight(checkpoint, output.weight, undefined, this.options.backend);
      expectShape(decoded, output);
      yield convert(decoded, output.dtype as DType).data;
    } else if (output.kind === "stepped") {
      const part = (await this.options.steps!.files.read(output.layer, output.weight)).get(output.suffix)!;
      yield convert(part, output.dtype as DType).data;
    } else if (output.kind === "router") {
      const rows = this.planOf(output.layer, output.of).keptExperts;
      const picked = pickTensorRows(await checkpoint.read(output.name), rows, output.axis);
      const { part } = output;
      const router =
        part === undefined ? picked : ((await this.options.router?.files.part(output.layer, part, picked)) ?? picked);
      yield convert(router, output.dtype as DType).data;
    } else {
      const { dtype } = checkpoint.info(output.name);
      for await (const data of checkpoint.chunks(output.name)) {
        yield dtype === output.dtype
          ? data
          : encodeFinite(output.dtype as DType, decode({ dtype: dtype as DType, data }));
      }
    }
  }
}

/** Codes in whole words do not tell the columns of a matrix that does not fill them. */
function expectShape({ shape }: Tensor, { name, shape: expected }: OutputTensor): void {
  if (shape.join() === expected.join()) return;
  throw new ReamError(
    "QUANTISED_PARTS",
    `${quote(name)} is [${shape.join(", ")}], its codes fill [${expected.join(", ")}]`,
    {
      hint: "Such a matrix cannot be written as floats: leave out --output-dtype.",
    },
  );
}

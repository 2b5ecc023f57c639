import { encodeFinite } from "../checkpoint/convert.js";
import { decode, encode } from "../checkpoint/dtypes.js";
import type { DType, Tensor } from "../checkpoint/tensor.js";
import { pickTensorRows } from "../checkpoint/tensor-rows.js";
import type { Backend, ExpertTensors } from "../engine/backend.js";
import { EXPERT_PARTS } from "../model/expert-storage.js";
import { inMemory, type MoeTensors, type RouterTensors } from "../model/moe.js";
import { notFinite } from "./not-finite.js";
import { type BlockPlan, type Group, groupOf, isMerged } from "./plan.js";
import type { Settings } from "./settings.js";

/** Neurons are rows of gate and up, and columns of down; a bias counts as a matrix of one row. */
const NEURON_AXIS = {
  gate: "rows",
  up: "rows",
  down: "columns",
  gateBias: "columns",
  upBias: "columns",
  downBias: undefined,
} as const satisfies Record<keyof ExpertTensors, "rows" | "columns" | undefined>;

const BIASES = ["gateBias", "upBias", "downBias"] as const;

/** How weights are merged, and rounded to the dtype they are stored in. */
export interface Merging {
  readonly when: Settings["rounding"];
  /** Dtype in which members are added and returned; undefined: that of the centroid's tensor. */
  readonly dtype?: DType | undefined;
  /**
   * What the router multiplies each expert's output by, in families that have that (Gemma 4). A merged expert has its
   * centroid's, so that members' outputs are brought to it.
   */
  readonly scales?: Float32Array | undefined;
}

/**
 * The weights of a group as one expert (Eq. 6): the sum of the members' weights times their aligned matrices and biases.
 * A group that merges nothing gives its centroid back as it is, to the byte.
 *
 * @param read reads an expert of the layer
 */
export async function mergeGroup(
  backend: Backend,
  group: Group,
  read: (expert: number) => Promise<ExpertTensors> | ExpertTensors,
  merging: Merging,
): Promise<ExpertTensors> {
  const centroid = await read(group.members[0]!);
  if (!isMerged(group)) return centroid;
  const parts = [...EXPERT_PARTS, ...BIASES].filter((part) => centroid[part] !== undefined);
  const sums = new Map<keyof ExpertTensors, Float32Array>();
  for (const part of parts) sums.set(part, new Float32Array(sizeOf(centroid[part]!)));
  for (const [index, member] of group.members.entries()) {
    const expert = index === 0 ? centroid : await read(member);
    const order = group.permutations[String(member)];
    for (const part of parts) {
      const axis = NEURON_AXIS[part];
      const permutation = order && axis && { axis, order: Int32Array.from(order) };
      const weight = group.weights[index]! * (ofOutput(part) ? scaleRatio(merging.scales, member, group) : 1);
      backend.addScaled(sums.get(part)!, asMatrix(expert[part]!), weight, permutation);
      if (merging.when === "each-member")
        sums.set(part, decodeRounded(sums.get(part)!, dtypeOf(centroid[part]!, merging)));
    }
  }
  const result = (part: keyof ExpertTensors): Tensor => {
    const { shape } = centroid[part]!;
    const dtype = dtypeOf(centroid[part]!, merging);
    const values = sums.get(part)!;
    if (!values.every(Number.isFinite))
      throw notFinite(`${part} weights of experts ${group.members.join(", ")} merged`);
    return { dtype, shape, data: encodeFinite(dtype, values) };
  };
  return {
    ...(centroid.gate && { gate: result("gate") }),
    up: result("up"),
    down: result("down"),
    ...(centroid.gateBias && { gateBias: result("gateBias") }),
    ...(centroid.upBias && { upBias: result("upBias") }),
    ...(centroid.downBias && { downBias: result("downBias") }),
  };
}

/** A block whose experts are those that a plan leaves. Like `mergeGroup` it gives back to the byte what merges nothing. */
export async function reduceBlock(
  backend: Backend,
  tensors: MoeTensors,
  plan: BlockPlan,
  merging: Merging,
): Promise<MoeTensors> {
  const experts: ExpertTensors[] = [];
  for (const kept of plan.keptExperts)
    experts.push(await mergeGroup(backend, groupOf(plan, kept), tensors.experts.read, merging));
  return { ...tensors, ...pickRouter(tensors, plan.keptExperts), experts: inMemory(experts) };
}

/** Whether outputs are proportional to a part. */
function ofOutput(part: keyof ExpertTensors): boolean {
  return part === "down" || part === "downBias";
}

/** The scale of a member over its centroid's, 1 where that is 0. */
function scaleRatio(scales: Float32Array | undefined, member: number, { members: [centroid] }: Group): number {
  const own = scales?.[centroid!];
  return own === undefined || own === 0 ? 1 : scales![member]! / own;
}

/** A bias as a matrix of one row. */
function asMatrix(tensor: Tensor): Tensor {
  return tensor.shape.length === 1 ? { ...tensor, shape: [1, ...tensor.shape] } : tensor;
}

/** The tensors of a router for the given experts, as stored. */
export function pickRouter(
  { router, routerBias, selectionBias, expertScale }: RouterTensors,
  experts: readonly number[],
) {
  return {
    router: pickTensorRows(router, experts),
    ...(routerBias !== undefined && { routerBias: pickTensorRows(routerBias, experts) }),
    ...(expertScale !== undefined && { expertScale: pickTensorRows(expertScale, experts) }),
    ...(selectionBias !== undefined && {
      selectionBias: pickTensorRows(selectionBias, experts, selectionBias.shape.length - 1),
    }),
  };
}

function dtypeOf(tensor: Tensor, merging: Merging): DType {
  return merging.dtype ?? tensor.dtype;
}

function decodeRounded(values: Float32Array, dtype: DType): Float32Array {
  return dtype === "F32" ? values : decode({ dtype, data: encode(dtype, values) });
}

function sizeOf(tensor: Tensor): number {
  return tensor.shape.reduce((a, b) => a * b, 1);
}

import type { Checkpoint } from "../checkpoint/checkpoint.js";
import { convert } from "../checkpoint/convert.js";
import type { DType, Tensor } from "../checkpoint/tensor.js";
import type { Backend, ExpertTensors } from "../engine/backend.js";
import type { ExpertCoding } from "./expert-coding.js";
import { expectWeight, readWeight } from "./read-weight.js";

/** The matrices of an expert; some have no gate. */
export const EXPERT_PARTS = ["gate", "up", "down"] as const;
export type ExpertPart = (typeof EXPERT_PARTS)[number];

/** An expert with all its tensors in a dtype; undefined: in their own. */
export function convertExpert(expert: ExpertTensors, dtype: DType | undefined): ExpertTensors {
  const converted = Object.entries(expert).map(([part, tensor]) => [part, tensor && convert(tensor, dtype)]);
  return Object.fromEntries(converted) as ExpertTensors;
}

/** A tensor of the compressed checkpoint that holds routed experts, and where its content comes from. */
export interface ExpertOutput {
  readonly name: string;
  /** Name of the source's tensor of the same kind, for its dtype and file. */
  readonly source: string;
  readonly shape: readonly number[];
  /** The kept experts whose bytes follow one another in the tensor. */
  readonly slots: readonly number[];
  /** What one of them contributes, in the layout of the tensor and the expert's own dtype. */
  tensor(expert: ExpertTensors): Tensor;
}

/**
 * How a checkpoint stores the routed experts of a layer. Everything above sees `experts[e].gate | up | down`; what the
 * output looks like stays the source's own layout.
 */
export interface ExpertStorage {
  /** Experts in the layer. */
  readonly count: number;
  /** Neurons of an expert. */
  readonly width: number;
  readonly hidden: number;
  /** The matrices of an expert, in the order in which they are used. Undefined: all. */
  readonly parts?: readonly ExpertPart[];
  /** Whether experts have biases. */
  readonly biased?: boolean;
  /** Whether engines read the family's experts in one tensor only, which weight formats do not have. */
  readonly together?: boolean;
  /** How they lie in tensors, for people. */
  readonly form: string;
  /** Names of all tensors that hold routed experts. */
  readonly names: readonly string[];
  /**
   * Name of an expert's matrix where every matrix is a tensor by itself: that of the tensor, and for experts in one tensor
   * the one that they have in checkpoints with separate experts.
   */
  matrixName(expert: number, part: ExpertPart): string;
  /** Checks that all its tensors are there, in their shapes. */
  check(checkpoint: Checkpoint): void;
  /**
   * Reads one expert: gate and up `[width, hidden]`, down `[hidden, width]`, in the stored dtype or decoded from it, which a
   * backend makes faster.
   */
  read(checkpoint: Checkpoint, expert: number, backend?: Backend): Promise<ExpertTensors>;
  /** Tensors of the output for `count` kept experts, as floats. */
  outputs(count: number): readonly ExpertOutput[];
  /** How the experts are quantised, of a storage that is itself a quantised one (`codingOf`). */
  coding?(checkpoint: Checkpoint): ExpertCoding;
}

/** Whether every matrix is a tensor by itself, or where it is quantised a module. */
export function isSeparate({ names, parts = EXPERT_PARTS, matrixName }: ExpertStorage): boolean {
  return names.includes(matrixName(0, parts[0]!));
}

/** The shape of an expert's matrix. */
export function expertShape({ width, hidden }: Pick<ExpertStorage, "width" | "hidden">, part: ExpertPart) {
  return part === "down" ? ([hidden, width] as const) : ([width, hidden] as const);
}

/**
 * `matrixName` of experts in one tensor: where the tensor of gate and up lies, below `experts.`, in the customary names of
 * separate experts, as `experts.7.gate_proj.weight`.
 */
export function separateName(gateUp: string): ExpertStorage["matrixName"] {
  const folder = gateUp.replace(/[^.]+(\.weight)?$/, "");
  const experts = folder.endsWith("experts.") ? folder : `${folder}experts.`;
  return (expert, part) => `${experts}${expert}.${part}_proj.weight`;
}

/** One tensor for each expert and matrix, as `model.layers.0.mlp.experts.7.gate_proj.weight`. */
export function separateExperts(options: {
  readonly count: number;
  readonly width: number;
  readonly hidden: number;
  readonly name: (expert: number, part: ExpertPart) => string;
  /** Whether the experts have gates. */
  readonly gated?: boolean;
}): ExpertStorage {
  const { count, width, hidden, name, gated = true } = options;
  const parts = EXPERT_PARTS.filter((part) => gated || part !== "gate");
  const shapes = { gate: [width, hidden], up: [width, hidden], down: [hidden, width] } as const;
  return {
    count,
    width,
    hidden,
    form: "one tensor for each expert and matrix",
    names: Array.from({ length: count }, (_, e) => parts.map((part) => name(e, part))).flat(),
    parts,
    matrixName: name,
    check(checkpoint) {
      for (let expert = 0; expert < count; expert++) {
        for (const part of parts) expectWeight(checkpoint, name(expert, part), shapes[part]);
      }
    },
    async read(checkpoint, expert, backend) {
      const read = await Promise.all(
        parts.map(
          async (part) => [part, await readWeight(checkpoint, name(expert, part), undefined, backend)] as const,
        ),
      );
      return Object.fromEntries(read) as Record<ExpertPart, Tensor>;
    },
    outputs: (kept) =>
      Array.from({ length: kept }, (_, slot) =>
        parts.map((part) => ({
          name: name(slot, part),
          source: name(slot, part),
          shape: shapes[part],
          slots: [slot],
          tensor: (expert: ExpertTensors) => expert[part]!,
        })),
      ).flat(),
  };
}

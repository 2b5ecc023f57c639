import type { Checkpoint } from "../../checkpoint/checkpoint.js";
import type { Tensor } from "../../checkpoint/tensor.js";
import { transpose } from "../../checkpoint/tensor-layout.js";
import type { ExpertTensors } from "../../engine/backend.js";
import { EXPERT_PARTS, type ExpertPart, type ExpertStorage, separateName } from "../expert-storage.js";
import { expectWeight } from "../read-weight.js";

/**
 * The experts of a layer as blocks of rows of one matrix each for gate, up and down, `[experts * width, hidden]` (DBRX): a
 * row belongs to a neuron, so that down is stored transposed.
 */
export function blockExperts(options: {
  readonly count: number;
  readonly width: number;
  readonly hidden: number;
  readonly names: Readonly<Record<ExpertPart, string>>;
}): ExpertStorage {
  const { count, width, hidden, names } = options;
  const turned = (part: ExpertPart, tensor: Tensor) => (part === "down" ? transpose(tensor) : tensor);
  return {
    count,
    width,
    hidden,
    form: "blocks of rows of one tensor for each matrix, down transposed",
    names: Object.values(names),
    together: true,
    matrixName: separateName(names.gate),
    check(checkpoint) {
      for (const name of Object.values(names)) expectWeight(checkpoint, name, [count * width, hidden]);
    },
    async read(checkpoint: Checkpoint, expert) {
      const read = async (part: ExpertPart) =>
        turned(part, await checkpoint.readRows(names[part], expert * width, (expert + 1) * width));
      const [gate, up, down] = await Promise.all(EXPERT_PARTS.map(read));
      return { gate: gate!, up: up!, down: down! };
    },
    outputs: (kept) =>
      EXPERT_PARTS.map((part) => ({
        name: names[part],
        source: names[part],
        shape: [kept * width, hidden],
        slots: Array.from({ length: kept }, (_, slot) => slot),
        tensor: (expert: ExpertTensors) => turned(part, expert[part]!),
      })),
  };
}

import type { Checkpoint } from "../../checkpoint/checkpoint.js";
import { quote } from "../../checkpoint/json-scanner.js";
import type { Tensor } from "../../checkpoint/tensor.js";
import { joinRows, splitRows, transpose } from "../../checkpoint/tensor-layout.js";
import type { ExpertTensors } from "../../engine/backend.js";
import { ReamError } from "../../errors.js";
import { type ExpertOutput, type ExpertStorage, separateName } from "../expert-storage.js";

export interface StackedOptions {
  readonly count: number;
  readonly width: number;
  readonly hidden: number;
  /** Names of the tensors; `gateUp` is that of up alone where there are no gates in it (`gate`). */
  readonly gateUp: string;
  readonly down: string;
  readonly gateUpBias?: string | undefined;
  readonly downBias?: string | undefined;
  /**
   * `rows`: an expert's outputs are rows, gateUp `[experts, 2 width, hidden]` and down `[experts, hidden, width]`;
   * `columns`: they are columns, `[experts, hidden, 2 width]` and `[experts, width, hidden]`.
   */
  readonly layout: "rows" | "columns";
  /** Names of an expert's matrices where they are tensors by themselves; undefined: nobody stores this family so. */
  readonly separate?: ExpertStorage["matrixName"] | undefined;
  /** Name of a tensor with the gates alone, or that experts have none. Undefined: they are in gateUp. */
  readonly gate?: string | "none" | undefined;
  /** Outputs of gate and up in turn, in gateUp and its bias `[experts, 2 width]`; else those of gate come first. */
  readonly interleaved?: boolean | undefined;
}

/** All experts of a layer in one tensor for gate and up and one for down. */
export function stackedExperts(options: StackedOptions): ExpertStorage {
  const { count, width, hidden, gateUp, down, gateUpBias, downBias, layout, gate, interleaved = false } = options;
  const matrix = (rows: number, columns: number) => (layout === "rows" ? [rows, columns] : [columns, rows]);
  const turned = (tensor: Tensor) => (layout === "rows" ? tensor : transpose(tensor));
  const plain = (name: string, part: "gate" | "up"): StackedTensor => ({
    name,
    shape: matrix(width, hidden),
    split: (tensor) => ({ [part]: turned(tensor) }),
    join: (expert) => turned(expert[part]!),
  });
  const both: StackedTensor = {
    name: gateUp,
    shape: matrix(2 * width, hidden),
    split(tensor) {
      const [gate, up] = splitRows(turned(tensor), interleaved);
      return { gate, up };
    },
    join: ({ gate, up }) => turned(joinRows(gate!, up, interleaved)),
  };
  const first = gate === undefined ? [both] : [...(gate === "none" ? [] : [plain(gate, "gate")]), plain(gateUp, "up")];
  const parts: StackedTensor[] = [
    ...first,
    {
      name: down,
      shape: matrix(hidden, width),
      split: (tensor) => ({ down: turned(tensor) }),
      join: (expert) => turned(expert.down),
    },
  ];
  if (gateUpBias !== undefined) {
    parts.push({
      name: gateUpBias,
      shape: [2 * width],
      split(tensor) {
        const [gateBias, upBias] = splitRows(tensor, interleaved);
        return { gateBias, upBias };
      },
      join: ({ gateBias, upBias }) => joinRows(gateBias!, upBias!, interleaved),
    });
  }
  if (downBias !== undefined) {
    parts.push({
      name: downBias,
      shape: [hidden],
      split: (tensor) => ({ downBias: tensor }),
      join: (expert) => expert.downBias!,
    });
  }
  return {
    count,
    width,
    hidden,
    ...(gate === "none" ? { parts: ["up", "down"] as const } : {}),
    biased: gateUpBias !== undefined || downBias !== undefined,
    form: [
      gate === undefined
        ? "stacked in one tensor of gate with up and one of down"
        : `stacked in one tensor of ${gate === "none" ? "up" : "gate, one of up"} and one of down`,
      ...(layout === "columns" ? ["transposed"] : []),
      ...(interleaved ? ["gate and up interleaved"] : []),
    ].join(", "),
    names: parts.map(({ name }) => name),
    together: options.separate === undefined,
    matrixName: options.separate ?? separateName(gateUp),
    check(checkpoint) {
      for (const { name, shape } of parts) {
        checkpoint.expectShape(name, [count, ...shape]);
        refuseFp8(checkpoint, name);
      }
    },
    async read(checkpoint, expert) {
      const read = await Promise.all(
        parts.map(async ({ name, split }) => split(await readStacked(checkpoint, name, expert))),
      );
      return Object.assign({}, ...read) as ExpertTensors;
    },
    outputs: (kept) =>
      parts.map(
        ({ name, shape, join }): ExpertOutput => ({
          name,
          source: name,
          shape: [kept, ...shape],
          slots: Array.from({ length: kept }, (_, slot) => slot),
          tensor: join,
        }),
      ),
  };
}

/** A tensor that holds something of every expert. */
interface StackedTensor {
  readonly name: string;
  /** Of one expert. */
  readonly shape: readonly number[];
  /** What an expert's part of the tensor holds. */
  split(tensor: Tensor): Partial<ExpertTensors>;
  /** The reverse. */
  join(expert: ExpertTensors): Tensor;
}

/** One expert's part of a stacked tensor. */
export async function readStacked(checkpoint: Checkpoint, name: string, expert: number): Promise<Tensor> {
  const { dtype, shape, data } = await checkpoint.readRows(name, expert, expert + 1);
  return { dtype, shape: shape.slice(1), data };
}

function refuseFp8(checkpoint: Checkpoint, name: string): void {
  const { dtype, file } = checkpoint.info(name);
  if (!dtype.startsWith("F8_")) return;
  throw new ReamError("QUANTISED_SOURCE", `${quote(name)} is ${dtype}, which is not supported for stacked experts`, {
    where: `${checkpoint.folder}, ${file}`,
    hint: "Use the unquantised (bfloat16) checkpoint of the same model.",
  });
}

import type { Checkpoint } from "../../checkpoint/checkpoint.js";
import { quote } from "../../checkpoint/json-scanner.js";
import { MXFP4_GROUP, MXFP4_GROUP_BYTES } from "../../checkpoint/quantised/mxfp4.js";
import { ReamError } from "../../errors.js";
import type { ExpertStorage } from "../expert-storage.js";
import { decodeExpert, mxfp4Coding, readStoredExpert } from "./mxfp4-coding.js";
import { type StackedOptions, stackedExperts } from "./stacked.js";

export type Mxfp4Options = Omit<StackedOptions, "layout" | "interleaved">;

/** A tensor of quantised experts. */
export interface Mxfp4Tensor {
  readonly name: string;
  /** What it is of an expert. */
  readonly part: string;
  /** Of one expert. */
  readonly shape: readonly number[];
}

/**
 * All experts of a layer in MXFP4 (gpt-oss): `gateUp_blocks` `[experts, 2 width, hidden / 32, 16]` with rows of gate and up
 * in turn, `down_blocks` `[experts, hidden, width / 32, 16]`, and `_scales` without the last axis. They are read as BF16.
 * Biases are stored as floats. As floats they are written as transformers stores the unquantised model.
 */
export function mxfp4Experts(options: Mxfp4Options): ExpertStorage {
  const { count, gateUp, down } = options;
  const tensors = mxfp4Tensors(options);
  const floats = stackedExperts({ ...options, layout: "columns", interleaved: true });
  const sources = new Map([gateUp, down].map((name) => [name, `${name}_blocks`]));
  return {
    ...floats,
    form: "stacked in blocks and scales of gate with up and of down, gate and up interleaved",
    names: tensors.map(({ name }) => name),
    check(checkpoint) {
      for (const { name, part, shape } of tensors) {
        checkpoint.expectShape(name, [count, ...shape]);
        if (!part.endsWith("bias")) expectBytes(checkpoint, name);
      }
    },
    read: async (checkpoint, expert) => decodeExpert(await readStoredExpert(checkpoint, tensors, expert), options),
    outputs: (kept) =>
      floats.outputs(kept).map((output) => ({ ...output, source: sources.get(output.name) ?? output.source })),
    coding: (checkpoint) => mxfp4Coding(checkpoint, options, tensors),
  };
}

function mxfp4Tensors({ width, hidden, gateUp, down, gateUpBias, downBias }: Mxfp4Options): Mxfp4Tensor[] {
  const matrix = (name: string, of: string, rows: number, columns: number) => {
    const scales = [rows, columns / MXFP4_GROUP];
    return [
      { name: `${name}_blocks`, part: `${of}.blocks`, shape: [...scales, MXFP4_GROUP_BYTES] },
      { name: `${name}_scales`, part: `${of}.scales`, shape: scales },
    ];
  };
  const bias = (name: string | undefined, of: string, size: number) =>
    name === undefined ? [] : [{ name, part: `${of}.bias`, shape: [size] }];
  return [
    ...matrix(gateUp, "gateUp", 2 * width, hidden),
    ...matrix(down, "down", hidden, width),
    ...bias(gateUpBias, "gateUp", 2 * width),
    ...bias(downBias, "down", hidden),
  ];
}

function expectBytes(checkpoint: Checkpoint, name: string): void {
  const { dtype, file } = checkpoint.info(name);
  if (dtype === "U8") return;
  throw new ReamError("TENSOR_DTYPE", `${quote(name)} is ${dtype}, expected U8`, {
    where: `${checkpoint.folder}, ${file}`,
  });
}

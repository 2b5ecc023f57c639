import type { Checkpoint } from "../../checkpoint/checkpoint.js";
import { quote } from "../../checkpoint/json-scanner.js";
import { decodeMxfp4, MXFP4_GROUP, MXFP4_GROUP_BYTES } from "../../checkpoint/quantised/mxfp4.js";
import { splitRows } from "../../checkpoint/tensor-layout.js";
import { ReamError } from "../../errors.js";
import { type ExpertStorage, separateName } from "../expert-storage.js";
import { readStacked, type StackedOptions } from "./stacked.js";

/**
 * All experts of a layer in MXFP4 (gpt-oss): `gateUp_blocks` `[experts, 2 width, hidden / 32, 16]` with rows of gate and up
 * in turn, `down_blocks` `[experts, hidden, width / 32, 16]`, and `_scales` without the last axis. They are read as BF16.
 * Biases are stored as floats. It is a source only: what is merged is not written in MXFP4.
 */
export function mxfp4Experts(options: Omit<StackedOptions, "layout" | "interleaved">): ExpertStorage {
  const { count, width, hidden, gateUp, down, gateUpBias, downBias } = options;
  const names = (name: string) => ({ blocks: `${name}_blocks`, scales: `${name}_scales` });
  const matrices = [
    { ...names(gateUp), rows: 2 * width, columns: hidden },
    { ...names(down), rows: hidden, columns: width },
  ];
  const biases = [
    { name: gateUpBias, size: 2 * width },
    { name: downBias, size: hidden },
  ];
  const matrix = async (checkpoint: Checkpoint, name: string, expert: number) => {
    const { blocks, scales } = names(name);
    const read = [readStacked(checkpoint, blocks, expert), readStacked(checkpoint, scales, expert)] as const;
    return decodeMxfp4(...(await Promise.all(read)), blocks);
  };
  return {
    count,
    width,
    hidden,
    biased: gateUpBias !== undefined,
    form: "stacked in blocks and scales of gate with up and of down, gate and up interleaved",
    names: [
      ...matrices.flatMap(({ blocks, scales }) => [blocks, scales]),
      ...biases.map(({ name }) => name).filter((name) => name !== undefined),
    ],
    matrixName: separateName(gateUp),
    check(checkpoint) {
      for (const { blocks, scales, rows, columns } of matrices) {
        const shape = [count, rows, columns / MXFP4_GROUP];
        expectBytes(checkpoint, blocks, [...shape, MXFP4_GROUP_BYTES]);
        expectBytes(checkpoint, scales, shape);
      }
      for (const { name, size } of biases) if (name !== undefined) checkpoint.expectShape(name, [count, size]);
    },
    async read(checkpoint, expert) {
      const [gate, up] = splitRows(await matrix(checkpoint, gateUp, expert), true);
      const [gateBias, upBias] =
        gateUpBias === undefined ? [] : splitRows(await readStacked(checkpoint, gateUpBias, expert), true);
      return {
        ...{ gate, up, down: await matrix(checkpoint, down, expert), gateBias, upBias },
        downBias: downBias === undefined ? undefined : await readStacked(checkpoint, downBias, expert),
      };
    },
    outputs() {
      throw new ReamError("QUANTISED_SOURCE", "experts in MXFP4 cannot be written", {
        hint: "Use the unquantised (bfloat16) checkpoint of the same model.",
      });
    },
  };
}

function expectBytes(checkpoint: Checkpoint, name: string, shape: readonly number[]): void {
  checkpoint.expectShape(name, shape);
  const { dtype, file } = checkpoint.info(name);
  if (dtype === "U8") return;
  throw new ReamError("TENSOR_DTYPE", `${quote(name)} is ${dtype}, expected U8`, {
    where: `${checkpoint.folder}, ${file}`,
  });
}

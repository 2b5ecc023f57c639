import type { Checkpoint } from "../../checkpoint/checkpoint.js";
import { convert } from "../../checkpoint/convert.js";
import { MXFP4 } from "../../checkpoint/quantised/e2m1.js";
import { decodeMxfp4, MXFP4_GROUP, MXFP4_GROUP_BYTES } from "../../checkpoint/quantised/mxfp4.js";
import type { DType, Tensor } from "../../checkpoint/tensor.js";
import { joinRows, splitRows } from "../../checkpoint/tensor-layout.js";
import type { Backend, ExpertTensors } from "../../engine/backend.js";
import type { ExpertCoding, StoredExpert } from "../expert-coding.js";
import type { Mxfp4Options, Mxfp4Tensor } from "./mxfp4.js";
import { readStacked } from "./stacked.js";

/** How experts in MXFP4 are read and written again (gpt-oss). */
export function mxfp4Coding(
  checkpoint: Checkpoint,
  options: Mxfp4Options,
  tensors: readonly Mxfp4Tensor[],
): ExpertCoding {
  const biasDtype = (name: string | undefined) => name && (checkpoint.info(name).dtype as DType);
  const [gateUpBias, downBias] = [biasDtype(options.gateUpBias), biasDtype(options.downBias)];
  return {
    read: (from, expert) => readStoredExpert(from, tensors, expert),
    decode: (stored) => decodeExpert(stored, options),
    encode(backend, { gate, up, down, ...biases }) {
      const encoded = new Map([
        ...encodeMatrix(backend, joinRows(gate!, up, true), "gateUp"),
        ...encodeMatrix(backend, down, "down"),
      ]);
      if (gateUpBias) {
        const joined = joinRows(biases.gateBias!, biases.upBias!, true);
        encoded.set("gateUp.bias", convert(joined, gateUpBias));
      }
      if (downBias) encoded.set("down.bias", convert(biases.downBias!, downBias));
      return encoded;
    },
    outputs: (kept) =>
      tensors.map(({ name, part, shape }) => ({
        ...{ name, part, source: checkpoint.info(name), shape: [kept, ...shape] },
        slots: Array.from({ length: kept }, (_, slot) => slot),
      })),
  };
}

/** An expert's part of each tensor. */
export async function readStoredExpert(
  checkpoint: Checkpoint,
  tensors: readonly Mxfp4Tensor[],
  expert: number,
): Promise<StoredExpert> {
  const read = tensors.map(
    async ({ name, part }): Promise<[string, Tensor]> => [part, await readStacked(checkpoint, name, expert)],
  );
  return new Map(await Promise.all(read));
}

/** The values of an expert: BF16, which holds all of them exactly. */
export function decodeExpert(stored: StoredExpert, { gateUp, down }: Mxfp4Options): ExpertTensors {
  const matrix = (of: string, name: string) =>
    decodeMxfp4(stored.get(`${of}.blocks`)!, stored.get(`${of}.scales`)!, name);
  const [gate, up] = splitRows(matrix("gateUp", `${gateUp}_blocks`), true);
  const bias = stored.get("gateUp.bias");
  const [gateBias, upBias] = bias === undefined ? [] : splitRows(bias, true);
  return { gate, up, down: matrix("down", `${down}_blocks`), gateBias, upBias, downBias: stored.get("down.bias") };
}

function encodeMatrix(backend: Backend, weight: Tensor, of: string): [string, Tensor][] {
  const [rows, columns] = weight.shape as [number, number];
  const parts = MXFP4.encode(backend, weight, "BF16");
  const shape = [rows, columns / MXFP4_GROUP];
  return [
    [`${of}.blocks`, { ...parts.get("weight_packed")!, shape: [...shape, MXFP4_GROUP_BYTES] }],
    [`${of}.scales`, { ...parts.get("weight_scale")!, shape }],
  ];
}

import { decode } from "../checkpoint/dtypes.js";
import { SafetensorsFile } from "../checkpoint/safetensors.js";
import { encodeSafetensors } from "../checkpoint/safetensors-encode.js";
import type { Tensor } from "../checkpoint/tensor.js";
import { type StatisticSums, statisticArrays } from "../compress/statistics.js";
import { ReamError } from "../errors.js";

/** What was observed of one layer on one range of a domain's sequences. */
export interface UnitStatistics {
  readonly sums: StatisticSums;
  /** Sampled inputs of the experts, sequence after sequence `[rows, hidden]`. */
  readonly samples: Tensor;
  /** Rows of `samples` that each sequence of the range has. */
  readonly sampleRows: Int32Array;
}

/** The bytes of a file: a safetensors file of float64 sums, with the samples as the engine rounds them. */
export function encodeUnit({ sums, samples, sampleRows }: UnitStatistics, about: Readonly<Record<string, string>>) {
  const tensors = new Map<string, Tensor>();
  for (const [name, values] of [...statisticArrays(sums), ["tokens", Float64Array.of(sums.tokens)] as const]) {
    tensors.set(name, { dtype: "F64", shape: [values.length], data: bytesOf(values) });
  }
  tensors.set("samples", samples);
  tensors.set("sample_rows", { dtype: "I32", shape: [sampleRows.length], data: bytesOf(sampleRows) });
  return encodeSafetensors(tensors, about);
}

/** Reads the sums of a file into `sums`, which has the arrays that are wanted. Errors: OBSERVATION_DAMAGED. */
export async function readSums(path: string, sums: StatisticSums): Promise<void> {
  await withFile(path, async (file) => {
    for (const [name, values] of statisticArrays(sums)) values.set(await doubles(file, name, values.length, path));
    sums.tokens = (await doubles(file, "tokens", 1, path))[0]!;
  });
}

/** The sampled inputs of the first `sequences` sequences of a file `[rows, hidden]`. Errors: OBSERVATION_DAMAGED. */
export function readSamples(path: string, sequences: number, hidden: number): Promise<Float32Array> {
  return withFile(path, async (file) => {
    const info = file.tensors.get("samples");
    const counts = file.tensors.get("sample_rows");
    if (info?.shape[1] !== hidden || counts?.dtype !== "I32") throw damaged(path, "it has no samples");
    const { data } = await file.read("sample_rows");
    const rows = new Int32Array(data.slice().buffer).subarray(0, sequences).reduce((sum, count) => sum + count, 0);
    if (!(rows >= 0 && rows <= info.shape[0]!)) throw damaged(path, `it has ${info.shape[0]} samples, not ${rows}`);
    return decode(await file.read("samples", [0, rows]));
  });
}

async function withFile<T>(path: string, work: (file: SafetensorsFile) => Promise<T>): Promise<T> {
  const file = await SafetensorsFile.open(path);
  try {
    return await work(file);
  } finally {
    await file.close();
  }
}

async function doubles(file: SafetensorsFile, name: string, length: number, path: string): Promise<Float64Array> {
  const info = file.tensors.get(name);
  if (info?.dtype !== "F64" || info.bytes !== 8 * length) throw damaged(path, `${name} is missing or has another size`);
  return new Float64Array((await file.read(name)).data.slice().buffer);
}

function bytesOf(values: Float64Array | Int32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

export function damaged(path: string, what: string): ReamError {
  return new ReamError("OBSERVATION_DAMAGED", `the observation is damaged: ${what}`, {
    where: path,
    hint: "Delete the file; `ream observe` with the same options makes it again.",
  });
}

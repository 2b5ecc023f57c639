import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { encodeSafetensors } from "../checkpoint/safetensors-encode.js";
import type { LayerTrace } from "../compress/trace.js";

/** Writes `trace.json` and `trace.safetensors`, in the form of the reference data. */
export async function writeTrace(
  folder: string,
  method: string,
  settings: Readonly<Record<string, unknown>>,
  traces: readonly LayerTrace[],
): Promise<void> {
  await mkdir(folder, { recursive: true });
  const json = { method, settings, layers: traces.map((trace) => trace.json) };
  await writeFile(join(folder, "trace.json"), `${JSON.stringify(json)}\n`);
  const tensors = new Map(traces.flatMap((trace) => [...trace.tensors]));
  await writeFile(join(folder, "trace.safetensors"), encodeSafetensors(tensors));
}

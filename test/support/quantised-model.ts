import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { weightFormat } from "../../src/checkpoint/quantised/formats.js";
import { quantizationConfig } from "../../src/checkpoint/quantised/quantization-config.js";
import type { WeightFormatName } from "../../src/checkpoint/quantised/weight-format.js";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-encode.js";
import type { Tensor } from "../../src/checkpoint/tensor.js";
import type { Backend } from "../../src/engine/backend.js";

/**
 * Writes a model twice in one file each: to `<target>/quantised` with its projections in a format, those left out that the
 * format refuses, and to `<target>/decoded` with the values that these have. Returns the names of the modules left out.
 */
export async function writeQuantised(
  source: string,
  target: string,
  name: WeightFormatName,
  backend: Backend,
): Promise<string[]> {
  const format = weightFormat(name);
  const [quantised, decoded] = [new Map<string, Tensor>(), new Map<string, Tensor>()];
  // Tied to the embedding here, but a linear layer for transformers.
  const ignored: string[] = ["lm_head"];
  const checkpoint = await Checkpoint.open(source);
  for (const key of checkpoint.tensors.keys()) {
    const tensor = await checkpoint.read(key);
    const shape = tensor.shape as [number, number];
    const module = key.slice(0, -".weight".length);
    const isLinear = module.endsWith("_proj") || module.endsWith(".gate");
    if (!module.endsWith("_proj") || format.refusal(shape) !== undefined) {
      if (isLinear) ignored.push(module);
      for (const tensors of [quantised, decoded]) tensors.set(key, tensor);
      continue;
    }
    const parts = format.encode(backend, tensor, "BF16");
    for (const [suffix, part] of parts) quantised.set(`${module}.${suffix}`, part);
    decoded.set(key, format.decode(parts, shape));
  }
  await checkpoint.close();
  const config = JSON.parse(readFileSync(join(source, "config.json"), "utf8")) as object;
  const written = { ...config, quantization_config: quantizationConfig(format, ignored) };
  for (const [folder, tensors, content] of [
    ["quantised", quantised, written],
    ["decoded", decoded, config],
  ] as const) {
    mkdirSync(join(target, folder), { recursive: true });
    writeFileSync(join(target, folder, "config.json"), JSON.stringify(content, null, 2));
    writeFileSync(join(target, folder, "model.safetensors"), encodeSafetensors(tensors));
  }
  return ignored;
}

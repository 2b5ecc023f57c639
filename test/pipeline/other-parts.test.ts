import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import type { JsonObject } from "../../src/checkpoint/json.js";
import { compress } from "../../src/pipeline/compress.js";
import { follow } from "../../src/pipeline/follow.js";
import { GOLDENS, readJson } from "../support/goldens.js";

const folder = mkdtempSync(join(tmpdir(), "ream-other-parts-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const tokens = join(GOLDENS, "ream/qwen3_moe/calibration.safetensors");

/** A multimodal checkpoint with code of its own, which would leave a file behind if anything ran it. */
function makeSource(): string {
  const source = join(folder, "source");
  const filter = (path: string) => !path.includes("expected.");
  cpSync(join(GOLDENS, "forward/qwen3_5_moe"), source, { recursive: true, filter });
  const config = readJson<JsonObject>(join(source, "config.json"));
  const changed = {
    ...config,
    text_config: { ...(config.text_config as JsonObject), mtp_num_hidden_layers: 1 },
    auto_map: { AutoModelForCausalLM: "modeling_own.Model" },
  };
  writeFileSync(join(source, "config.json"), JSON.stringify(changed, null, 2));
  writeFileSync(join(source, "modeling_own.py"), `open(${JSON.stringify(join(folder, "was-run"))}, "w")\n`);
  writeFileSync(join(source, "tokenizer.json"), '{"version": "1.0"}');
  mkdirSync(join(source, "templates"));
  writeFileSync(join(source, "templates/chat.jinja"), "{{ messages }}");
  writeFileSync(join(source, "pytorch_model.bin"), "another copy of the weights");
  return source;
}

test("vision tower, code, tokenizer and other files are copied byte for byte; prediction layers are dropped on request", async () => {
  const source = makeSource();
  const out = join(folder, "out");
  const options = { model: source, out, tokens, method: "reap", experts: 6, shards: "layer" } as const;
  await follow(compress({ ...options, predictionLayers: "drop" }), () => undefined);

  for (const file of ["modeling_own.py", "tokenizer.json", "templates/chat.jinja"])
    expect(readFileSync(join(out, file)).equals(readFileSync(join(source, file))), file).toBe(true);
  expect(existsSync(join(out, "pytorch_model.bin"))).toBe(false);
  expect(existsSync(join(folder, "was-run"))).toBe(false);

  const config = readJson<JsonObject>(join(source, "config.json"));
  const text = config.text_config as JsonObject;
  expect(readJson(join(out, "config.json"))).toEqual({
    ...config,
    text_config: { ...text, num_experts: 6, mtp_num_hidden_layers: 0 },
  });

  const [before, after] = [await Checkpoint.open(source), await Checkpoint.open(out)];
  const changed = /^mtp\.|\.mlp\.(experts|gate)\b/;
  const vision = [...before.tensors.keys()].filter((name) => name.includes("visual"));
  expect(vision.length).toBeGreaterThan(0);
  const kept = [...before.tensors.keys()].filter((name) => !changed.test(name));
  expect(kept).toEqual(expect.arrayContaining(vision));
  for (const name of kept)
    expect(Buffer.from((await after.read(name)).data).equals((await before.read(name)).data), name).toBe(true);
  expect([...after.tensors.keys()].filter((name) => name.startsWith("mtp."))).toEqual([]);

  // The index says what the files hold.
  const index = readJson<{ metadata: JsonObject; weight_map: JsonObject }>(join(out, "model.safetensors.index.json"));
  const infos = [...after.tensors.values()];
  expect(index.metadata).toEqual({ total_size: infos.reduce((sum, { bytes }) => sum + bytes, 0) });
  expect(index.weight_map).toEqual(Object.fromEntries(infos.map(({ name, file }) => [name, file])));
  await Promise.all([before.close(), after.close()]);
});

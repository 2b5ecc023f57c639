import assert from "node:assert/strict";
import { parseConfig } from "../../src/checkpoint/checkpoint.js";
import { editExpertCount } from "../../src/checkpoint/config-edit.js";
import { decodeUtf8, type JsonObject } from "../../src/checkpoint/json.js";
import { buildIndex } from "../../src/checkpoint/output.js";
import { layOutTensors, tensorBytes } from "../../src/checkpoint/safetensors-encode.js";
import { parseSafetensorsHeader } from "../../src/checkpoint/safetensors-header.js";
import { parseShardIndex } from "../../src/checkpoint/shard-index.js";
import { ReamError } from "../../src/errors.js";
import { Random } from "../../src/random.js";
import { mutate } from "./mutate.js";

const TENSORS = [
  { name: "model.layers.0.mlp.gate.weight", dtype: "BF16", shape: [8, 4], file: "model-00001-of-00002.safetensors" },
  { name: "model.norm.weight", dtype: "F32", shape: [4], file: "model-00001-of-00002.safetensors" },
  { name: "scalar", dtype: "I64", shape: [], file: "model-00002-of-00002.safetensors" },
  { name: "none", dtype: "U8", shape: [0, 3], file: "model-00002-of-00002.safetensors" },
  { name: "blocks.é", dtype: "F4", shape: [2, 4], file: "model-00002-of-00002.safetensors" },
] as const;

const CONFIG = `{
  "architectures": ["Qwen3MoeForCausalLM"], "num_experts": 128, "num_local_experts": 128, "rope_theta": 1e6,
  "text_config": {"n_routed_experts": 128, "eps": 1e-06, "x": [128, {"num_experts": 128}]}, "limit": [0.0, Infinity]
}`;

const BEFORE = 128;
/** A count that no mutation makes by accident. */
const AFTER = 987_654_321;

const header = (tensors: Parameters<typeof layOutTensors>[0], metadata = {}) =>
  Buffer.from(layOutTensors(tensors, metadata).head.subarray(8));

/** What is fuzzed: seeds, and a check that throws a `ReamError` for bad input and an `AssertionError` for a bad answer. */
const TARGETS: readonly { name: string; seeds: Buffer[]; check: (bytes: Buffer, random: Random) => unknown }[] = [
  {
    name: "safetensors header",
    seeds: [header(TENSORS, { format: "pt" }), header(TENSORS.slice(0, 2)), header([TENSORS[4]]), Buffer.from("{}")],
    check: checkHeader,
  },
  {
    name: "shard index",
    seeds: [buildIndex(TENSORS), buildIndex(TENSORS.slice(0, 1))].map((text) => Buffer.from(text)),
    check: checkIndex,
  },
  {
    name: "config edit",
    seeds: [CONFIG, '{"n_routed_experts":128}', '{"a":[{"b":{}}],"moe_num_experts" : 128}'].map((text) =>
      Buffer.from(text),
    ),
    check: checkConfig,
  },
];

/** A header that is accepted says what JSON.parse reads, and its tensors lie gapless. */
function checkHeader(bytes: Buffer): void {
  const { tensors, metadata, dataBytes } = parseSafetensorsHeader(bytes, "x");
  let end = 0;
  for (const tensor of tensors.values()) {
    assert.equal(tensor.offset, end);
    assert.equal(tensor.bytes, tensorBytes(tensor));
    end += tensor.bytes;
  }
  assert.equal(end, dataBytes);
  const { __metadata__: expectedMetadata = {}, ...expected } = JSON.parse(bytes.toString()) as Record<
    string,
    JsonObject
  >;
  assert.deepEqual(Object.fromEntries(metadata), { ...expectedMetadata });
  const found = [...tensors].map(([name, { dtype, shape, offset, bytes: size }]) => [
    name,
    { dtype, shape, data_offsets: [offset, offset + size] },
  ]);
  assert.deepEqual(Object.fromEntries(found), expected);
}

/** An index that is accepted says what JSON.parse reads, however its bytes are cut. */
async function checkIndex(bytes: Buffer, random: Random): Promise<void> {
  const cut = random.below(bytes.length + 1);
  const { files, totalSize } = await parseShardIndex([bytes.subarray(0, cut), bytes.subarray(cut)]);
  const expected = JSON.parse(bytes.toString().replace(/^\ufeff/, "")) as {
    weight_map: JsonObject;
    metadata?: JsonObject;
  };
  assert.deepEqual(Object.fromEntries(files), expected.weight_map);
  if (typeof totalSize === "number") assert.equal(totalSize, expected.metadata?.total_size);
}

/** An edited config can be edited back to the same values. */
function checkConfig(bytes: Buffer): void {
  const text = decodeUtf8(bytes, "config.json");
  const edited = editExpertCount(text, BEFORE, AFTER);
  assert.deepEqual(parseConfig(editExpertCount(edited, AFTER, BEFORE)), parseConfig(text));
}

export interface FuzzResult {
  readonly iterations: number;
  /** Inputs that were accepted, and those that were refused by a `ReamError` of each code. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** Inputs, as base64, at which something else was thrown. */
  readonly failures: readonly { readonly target: string; readonly input: string; readonly error: string }[];
}

/** Runs mutated inputs through the parsers, the targets in turn. The same seed gives the same inputs. */
export async function fuzz(iterations: number, seed: number): Promise<FuzzResult> {
  const random = new Random(seed);
  const outcomes: Record<string, number> = {};
  const failures: { target: string; input: string; error: string }[] = [];
  for (let i = 0; i < iterations; i++) {
    const target = TARGETS[i % TARGETS.length]!;
    const input = mutate(random, target.seeds);
    let outcome = "accepted";
    try {
      await target.check(input, random);
    } catch (error) {
      if (error instanceof ReamError) outcome = error.code;
      else {
        outcome = "failed";
        failures.push({ target: target.name, input: input.toString("base64"), error: String((error as Error).stack) });
        if (failures.length === 10) break;
      }
    }
    outcomes[`${target.name}: ${outcome}`] = (outcomes[`${target.name}: ${outcome}`] ?? 0) + 1;
  }
  return { iterations, outcomes, failures };
}

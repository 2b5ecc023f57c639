import { join } from "node:path";
import { editDtype, editExpertCount } from "../checkpoint/config-edit.js";
import { decode } from "../checkpoint/dtypes.js";
import { buildIndex, type OutputFolder, type ShardTensor } from "../checkpoint/output.js";
import { tensorBytes } from "../checkpoint/safetensors-encode.js";
import { INDEX_NAME } from "../checkpoint/shard-index.js";
import type { DType } from "../checkpoint/tensor.js";
import { pickTensorRows } from "../checkpoint/tensor-rows.js";
import { convert, encodeFinite, mergeGroup } from "../compress/merge.js";
import { groupOf, type LayerPlan, type Plan } from "../compress/plan.js";
import type { Backend } from "../engine/backend.js";
import type { CompressEvent } from "./events.js";
import { type ManifestInputs, manifest } from "./manifest.js";
import { MergedExperts } from "./merged-experts.js";
import { modelCard } from "./model-card.js";
import type { OpenedModel } from "./open-model.js";
import { type OutputTensor, outputTensors, shardFiles } from "./output-layout.js";
import { contentIdentity, type FileIdentity } from "./source-identity.js";

export interface WriteOptions {
  readonly opened: OpenedModel;
  /** Absent in a dry run: only the sizes are told. */
  readonly output: OutputFolder | undefined;
  readonly plan: Plan;
  readonly backend: Backend;
  /** Dtype in which groups are merged, before the result is stored; undefined: that of the stored tensors. */
  readonly mergedDtype: DType | undefined;
  /** Dtype of the output's floats; undefined: as in the source. */
  readonly dtype: DType | undefined;
  readonly shards: "source" | "layer";
  readonly observed?: ManifestInputs["observed"];
  readonly signal?: AbortSignal | undefined;
}

/** Writes the compressed checkpoint file by file and gives the folder its name; returns the sizes of the tensors. */
export async function* writeCheckpoint(
  options: WriteOptions,
): AsyncGenerator<CompressEvent, { readonly before: number; readonly after: number }> {
  const { opened, output, plan, dtype, signal } = options;
  const { checkpoint, model, folder } = opened;
  const outputs = outputTensors(checkpoint, model, plan.experts.after, dtype);
  const before = [...checkpoint.tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  const after = outputs.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
  if (output === undefined) return { before, after };

  const files = shardFiles(outputs, model, options.shards);
  const content = new TensorContent(options);
  const metadata = Object.fromEntries(checkpoint.metadata);
  let done = 0;
  for (const [file, tensors] of files) {
    signal?.throwIfAborted();
    // A file that is there is whole: an earlier run wrote it from the same plans.
    if (!(await output.has(file))) {
      const shard = tensors.map((tensor): ShardTensor => ({ ...tensor, data: () => content.of(tensor, signal) }));
      await output.writeShard(file, shard, metadata);
    }
    done += tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
    yield { type: "shard", file, done, total: after };
  }
  for (const name of checkpoint.files) {
    if (name !== "README.md") await output.copyFile(join(folder, name), name);
  }
  const indexed = [...files].flatMap(([file, tensors]) => tensors.map((tensor) => ({ ...tensor, file })));
  const single = files.size === 1 && files.has("model.safetensors");
  if (!single) await output.writeFile(INDEX_NAME, buildIndex(indexed));
  await output.writeFile("config.json", editConfig(checkpoint.configText, plan, dtype));
  await output.writeFile("README.md", modelCard(opened, model, plan, options.observed?.calibration));
  const identities: FileIdentity[] = [];
  const sourceFiles = new Set(["config.json", ...[...checkpoint.tensors.values()].map((info) => info.file)]);
  for await (const identity of contentIdentity(folder, [...sourceFiles])) identities.push(identity);
  const facts = { source: opened.name, files: identities, model, plan, outputDtype: dtype ?? "same" };
  const about = manifest({ ...facts, ...(options.observed && { observed: options.observed }) });
  await output.writeFile("ream.json", `${JSON.stringify(about, null, 2)}\n`);
  await output.finish();
  return { before, after };
}

function editConfig(text: string, plan: Plan, dtype: DType | undefined): string {
  const counted =
    plan.experts.before === plan.experts.after ? text : editExpertCount(text, plan.experts.before, plan.experts.after);
  return dtype === undefined ? counted : editDtype(counted, dtype);
}

/** Makes the bytes of output tensors when their turn comes. */
class TensorContent {
  private readonly plans: ReadonlyMap<number, LayerPlan>;
  private readonly experts: MergedExperts;

  constructor(private readonly options: WriteOptions) {
    const { backend, opened, mergedDtype: dtype } = options;
    this.plans = new Map(options.plan.layers.map((layer) => [layer.layer, layer]));
    this.experts = new MergedExperts((layer, slot) => {
      const plan = this.plans.get(layer.index)!;
      const group = groupOf(plan, plan.keptExperts[slot]!);
      const read = (expert: number) => layer.feedForward.experts.read(opened.checkpoint, expert);
      return mergeGroup(backend, group, read, { when: options.plan.rounding, dtype });
    });
  }

  async *of(output: OutputTensor, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
    signal?.throwIfAborted();
    const { checkpoint } = this.options.opened;
    if (output.kind === "expert") {
      for (const slot of output.slots) {
        signal?.throwIfAborted();
        const expert = await this.experts.take(output.layer, slot, output.slots.length > 1);
        yield convert(output.tensor(expert), output.dtype as DType).data;
      }
    } else if (output.kind === "router") {
      const rows = this.plans.get(output.layer)!.keptExperts;
      const router = pickTensorRows(await checkpoint.read(output.name), rows, output.axis);
      yield convert(router, output.dtype as DType).data;
    } else {
      const { dtype } = checkpoint.info(output.name);
      for await (const data of checkpoint.chunks(output.name)) {
        yield dtype === output.dtype
          ? data
          : encodeFinite(output.dtype as DType, decode({ dtype: dtype as DType, data }));
      }
    }
  }
}

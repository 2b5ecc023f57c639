import { join } from "node:path";
import { editDtype, editExpertCount, editNoPredictions } from "../checkpoint/config-edit.js";
import { buildIndex, type OutputFolder } from "../checkpoint/output.js";
import { tensorBytes } from "../checkpoint/safetensors-encode.js";
import { INDEX_NAME } from "../checkpoint/shard-index.js";
import type { DType } from "../checkpoint/tensor.js";
import type { Plan } from "../compress/plan.js";
import type { Backend } from "../engine/backend.js";
import type { CompressEvent } from "./events.js";
import { type ManifestInputs, manifest } from "./manifest.js";
import { modelCard } from "./model-card.js";
import { outputTensors, shardFiles } from "./output-layout.js";
import type { OutputTarget } from "./output-target.js";
import type { PreparedModel } from "./prediction-layers.js";
import { relay } from "./relay.js";
import { contentIdentity, type FileIdentity } from "./source-identity.js";
import type { Split } from "./split/split.js";
import { writeElsewhere } from "./split/write-elsewhere.js";
import { TensorContent } from "./tensor-content.js";

export interface WriteOptions extends OutputTarget {
  readonly opened: PreparedModel;
  /** Absent in a dry run: only the sizes are told. */
  readonly output: OutputFolder | undefined;
  readonly plan: Plan;
  readonly backend: Backend;
  readonly observed?: ManifestInputs["observed"];
  /** Has the shards written by others; without it they are written here. */
  readonly split?: Split | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Writes the compressed checkpoint file by file and gives the folder its name; returns the sizes of the tensors. */
export async function* writeCheckpoint(
  options: WriteOptions,
): AsyncGenerator<CompressEvent, { readonly before: number; readonly after: number }> {
  const { opened, output, plan, dtype, split, signal } = options;
  const { checkpoint, model, folder, omitted, predictionLayers } = opened;
  const outputs = outputTensors(checkpoint, model, plan.experts.after, dtype, omitted);
  const before = [...checkpoint.tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  const after = outputs.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
  if (output === undefined) return { before, after };

  const files = shardFiles(outputs, model, options.shards);
  const sources = [...new Set(["config.json", ...[...checkpoint.tensors.values()].map((info) => info.file)])].sort();
  let done = 0;
  const written = (file: string): CompressEvent => {
    done += files.get(file)!.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
    return { type: "shard", file, done, total: after };
  };
  let identities: FileIdentity[] = [];
  if (split === undefined) {
    const content = new TensorContent(options);
    for (const [file, tensors] of files) {
      signal?.throwIfAborted();
      // A file that is there is whole: an earlier run wrote it from the same plans.
      if (!(await output.has(file)))
        await output.writeShard(file, content.shard(tensors), Object.fromEntries(checkpoint.metadata));
      yield written(file);
    }
    for (const file of sources) identities.push(await contentIdentity(folder, file));
  } else {
    identities = yield* relay<CompressEvent, FileIdentity[]>((emit) => {
      const onShard = (file: string) => emit(written(file));
      return writeElsewhere(split, { plan, files: [...files.keys()], sources, onShard, signal });
    });
  }
  for (const name of checkpoint.files) {
    if (name !== "README.md") await output.copyFile(join(folder, name), name);
  }
  const indexed = [...files].flatMap(([file, tensors]) => tensors.map((tensor) => ({ ...tensor, file })));
  const single = files.size === 1 && files.has("model.safetensors");
  if (!single) await output.writeFile(INDEX_NAME, buildIndex(indexed));
  await output.writeFile("config.json", editConfig(checkpoint.configText, opened, plan, dtype));
  await output.writeFile("README.md", modelCard(opened, model, plan, options.observed?.calibration));
  const facts = { source: opened.name, files: identities, model, plan, outputDtype: dtype ?? "same", predictionLayers };
  const about = manifest({ ...facts, ...(options.observed && { observed: options.observed }) });
  await output.writeFile("ream.json", `${JSON.stringify(about, null, 2)}\n`);
  await output.finish();
  return { before, after };
}

function editConfig(
  text: string,
  { model, predictionLayers }: PreparedModel,
  plan: Plan,
  dtype: DType | undefined,
): string {
  const { before, after } = plan.experts;
  const counted = before === after ? text : editExpertCount(text, before, after, model.configPart);
  const told = predictionLayers === "dropped" ? editNoPredictions(counted) : counted;
  return dtype === undefined ? told : editDtype(told, dtype);
}

import type { FileHandle } from "node:fs/promises";
import { writeFully } from "./durable.js";
import { quote } from "./json-scanner.js";
import { layOutTensors, type TensorLayout, tensorBytes } from "./safetensors-encode.js";

/** A tensor to be written: its bytes, or where they come from when its turn has come. */
export interface ShardTensor extends TensorLayout {
  readonly data: Uint8Array | (() => Promise<Uint8Array> | AsyncIterable<Uint8Array>);
}

/** Streams tensors into a safetensors file. They are asked for their data one after the other, in the file's order. */
export async function writeTensors(
  handle: FileHandle,
  tensors: readonly ShardTensor[],
  metadata: Readonly<Record<string, string>>,
  order: "sorted" | "given" = "sorted",
): Promise<void> {
  const { ordered, head } = layOutTensors(tensors, metadata, order);
  await writeFully(handle, head);
  for (const tensor of ordered) {
    let bytes = 0;
    for await (const chunk of chunksOf(tensor)) {
      await writeFully(handle, chunk);
      bytes += chunk.length;
    }
    const expected = tensorBytes(tensor);
    if (bytes !== expected) throw new RangeError(`${quote(tensor.name)} came with ${bytes} of ${expected} bytes`);
  }
}

async function* chunksOf({ data }: ShardTensor): AsyncGenerator<Uint8Array> {
  const content = typeof data === "function" ? data() : data;
  if (Symbol.asyncIterator in content) yield* content;
  else yield await content;
}

import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { OpenedModel } from "../pipeline/open-model.js";
import { contentIdentity, type FileIdentity } from "../pipeline/source-identity.js";

/** Files up to this size are told apart by their content, larger ones by their length alone: hashing them takes minutes. */
const HASHED_BYTES = 2e9;

/** Whether a manifest's source is this model: the same files, of the same lengths and, where that is cheap, contents. */
export function sourceCheck({ folder, checkpoint }: Pick<OpenedModel, "folder" | "checkpoint">) {
  const digests = new Map<string, Promise<string>>();
  const digestOf = (name: string) => {
    let digest = digests.get(name);
    if (digest === undefined) {
      digest = contentIdentity(folder, name).then(({ sha256 }) => sha256);
      digests.set(name, digest);
    }
    return digest;
  };
  const own = new Set(["config.json", ...[...checkpoint.tensors.values()].map(({ file }) => file)]);
  return async (files: readonly FileIdentity[]): Promise<boolean> => {
    if (files.length !== own.size || !files.every(({ name }) => own.has(name))) return false;
    for (const { name, bytes, sha256 } of files) {
      const size = (await stat(join(folder, name))).size;
      if (size !== bytes || (size <= HASHED_BYTES && (await digestOf(name)) !== sha256)) return false;
    }
    return true;
  };
}

import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { ReamError } from "../errors.js";
import { cachedCommit, snapshotFiles, snapshotFolder, writeRef } from "./cache.js";
import { downloadFiles } from "./download.js";
import { fileError } from "./failures.js";
import { currentCommit, listRepository } from "./listing.js";
import { looksLikeHubId, parseHubId, type Repository } from "./repository.js";
import type { HubOptions } from "./settings.js";

const INDEX = "model.safetensors.index.json";
const SINGLE = "model.safetensors";

/** A model's folder on this machine, and where it came from if that was the hub. */
export interface ResolvedModel {
  readonly folder: string;
  readonly id?: string;
  readonly revision?: string;
  readonly commit?: string;
}

/**
 * Whether a file beside the weights belongs to the model: configuration, tokenizer, templates, code that is copied and
 * never run, licence and card. Other folders hold other forms of the same model (original/, onnx/, metal/).
 */
function isCompanion(path: string): boolean {
  if (path.startsWith("additional_chat_templates/")) return path.endsWith(".jinja");
  return !path.includes("/") && /\.(json|jinja|txt|model|tiktoken|py|md)$|^(LICENSE|NOTICE|USE_POLICY)/i.test(path);
}

/** Weight files: those that the index names; without an index, model.safetensors or all safetensors files of the root. */
async function weightFiles(files: readonly string[], indexPath: string | undefined, where: string): Promise<string[]> {
  const root = files.filter((path) => !path.includes("/") && path.endsWith(".safetensors"));
  if (indexPath === undefined) return root.includes(SINGLE) ? [SINGLE] : root;
  let names: unknown[];
  try {
    const index = JSON.parse(await readFile(indexPath, "utf8")) as { weight_map: Record<string, unknown> };
    names = [...new Set(Object.values(index.weight_map))];
  } catch (cause) {
    throw new ReamError("HUB_INDEX", "The index of the weights is not valid.", {
      where: `${where} ${INDEX}`,
      hint: "Give another revision, or a local folder.",
      cause,
    });
  }
  const missing = names.filter((name) => typeof name !== "string" || !files.includes(name));
  if (missing.length === 0) return names as string[];
  throw new ReamError("HUB_INCOMPLETE", `${missing.length} weight files are missing, the first is ${missing[0]}.`, {
    where,
    hint: "Give another revision, or unset HF_HUB_OFFLINE if only the cache lacks them.",
  });
}

function requireWeights(weights: readonly string[], where: string): void {
  if (weights.length > 0) return;
  throw new ReamError("HUB_NO_SAFETENSORS", "The model has no safetensors files.", {
    where,
    hint: "Other formats (.bin, .pth, .gguf) are not read: convert it, or find a repository that has safetensors.",
  });
}

async function downloadModel(repository: Repository, options: HubOptions): Promise<ResolvedModel> {
  const { name, revision } = repository;
  const where = `${name}@${revision}`;
  const commit = await currentCommit(repository, options);
  const files = await listRepository(repository, commit, options);
  const paths = files.map(({ path }) => path);
  if (!paths.some((path) => path.endsWith(".safetensors"))) requireWeights([], where);
  const snapshot = await downloadFiles(
    repository,
    commit,
    files.filter(({ path }) => isCompanion(path)),
    options,
  );
  const index = paths.includes(INDEX) ? join(snapshot, INDEX) : undefined;
  const weights = new Set(await weightFiles(paths, index, where));
  requireWeights([...weights], where);
  await downloadFiles(
    repository,
    commit,
    files.filter(({ path }) => weights.has(path)),
    options,
  );
  try {
    // Last: offline, the revision then only ever names a whole snapshot of this program's making.
    await writeRef(options.cache, repository, commit);
  } catch (cause) {
    throw fileError(cause, options.cache);
  }
  return { folder: snapshot, id: name, revision, commit };
}

async function cachedModel(repository: Repository, options: HubOptions): Promise<ResolvedModel> {
  const { name, revision } = repository;
  const commit = await cachedCommit(options.cache, repository);
  const folder = commit === undefined ? undefined : snapshotFolder(options.cache, repository, commit);
  const files = folder === undefined ? [] : await snapshotFiles(folder);
  if (commit === undefined || folder === undefined || !files.includes("config.json")) {
    throw new ReamError("HUB_OFFLINE", `The cache does not hold ${name}@${revision}.`, {
      where: options.cache,
      hint: "Unset HF_HUB_OFFLINE to download it, or give a local folder.",
    });
  }
  const where = `${name}@${revision} in the cache`;
  requireWeights(await weightFiles(files, files.includes(INDEX) ? join(folder, INDEX) : undefined, where), where);
  return { folder, id: name, revision, commit };
}

/** A text that may have been meant as a path: says that there is no such folder either. */
function mentionFolder(cause: unknown, text: string): unknown {
  if (!(cause instanceof ReamError) || text.startsWith("hf://")) return cause;
  if (!/^HUB_(NOT_FOUND|AUTH|OFFLINE|UNREACHABLE)$/.test(cause.code)) return cause;
  const { code, where, hint } = cause;
  const details = { ...(where === undefined ? {} : { where }), ...(hint === undefined ? {} : { hint }), cause };
  return new ReamError(code, `${cause.message} There is no folder "${text}" here either.`, details);
}

/**
 * The local folder of a model: the folder itself, or the snapshot of a hub id (`org/name[@revision]`, `hf://org/name`) in
 * the cache, downloaded as far as it is missing. A local folder wins over a hub id. Errors: MODEL_NOT_FOUND, HUB_....
 */
export async function resolveModel(idOrPath: string, options: HubOptions): Promise<ResolvedModel> {
  const local = await stat(idOrPath).catch(() => undefined);
  if (local?.isDirectory()) return { folder: idOrPath };
  if (local === undefined && looksLikeHubId(idOrPath)) {
    const repository = parseHubId(idOrPath, "model");
    try {
      return await (options.offline ? cachedModel(repository, options) : downloadModel(repository, options));
    } catch (cause) {
      throw mentionFolder(cause, idOrPath);
    }
  }
  const found = local === undefined ? "neither a folder on this machine" : "a file, neither a folder";
  throw new ReamError("MODEL_NOT_FOUND", `"${idOrPath}" is ${found} nor a hub id.`, {
    where: idOrPath,
    hint: "Give the folder that holds config.json, or a hub id such as org/name or org/name@revision.",
  });
}

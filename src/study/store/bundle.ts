import { createHash } from "node:crypto";
import { type FileHandle, mkdir, open } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import { writeDurably, writeError, writeFully } from "../../checkpoint/durable.js";
import { damaged, type Objects } from "./objects.js";

/**
 * Files that appear in a store together or not at all. Their contents lie under their digests, `NAME/files/SHA-256`, so that
 * two machines that put up the same bundle do not mix it; `NAME/index.json` comes last, and is what makes it be there.
 */
const indexSchema = z.strictObject({
  format: z.literal("ream-store-files"),
  version: z.literal(1),
  files: z.array(
    z.strictObject({
      /** Below the bundle's folder, with slashes, and never outside of it. */
      path: z.string().regex(/^(?!\/)(?!.*(^|\/)\.{0,2}(\/|$))[^\\\0]+$/),
      bytes: z.int().min(0),
      sha256: z.string().regex(/^[0-9a-f]{64}$/),
    }),
  ),
});

export type BundleIndex = z.infer<typeof indexSchema>;
type BundleFile = BundleIndex["files"][number];

const contentKey = (name: string, { sha256 }: BundleFile) => `${name}/files/${sha256}`;
const indexKey = (name: string) => `${name}/index.json`;

/** Bytes that are hashed at a time. */
const BLOCK = 2 ** 20;

/** What is in a bundle; undefined where it is not there. Errors: STORE_DAMAGED, and those of the store. */
export function readIndex(objects: Objects, name: string): Promise<BundleIndex | undefined> {
  return objects.getJson(indexKey(name), indexSchema);
}

/** Puts up files of a folder. Contents that an interrupted try has put up are not sent again. Errors: those of the store. */
export async function putBundle(
  objects: Objects,
  name: string,
  folder: string,
  paths: readonly string[],
): Promise<void> {
  const files: BundleFile[] = [];
  for (const path of paths) {
    // The same open file is hashed and sent: another process may put an equal one in its place meanwhile.
    const handle = await open(join(folder, path));
    try {
      const file = { path, ...(await digestOf(handle)) };
      const key = contentKey(name, file);
      if ((await objects.size(key)) !== file.bytes) await objects.putFile(key, handle, file.bytes);
      files.push(file);
    } finally {
      await handle.close();
    }
  }
  const index: BundleIndex = { format: "ream-store-files", version: 1, files };
  await objects.putJson(indexKey(name), index);
}

/**
 * Fetches a bundle's files to a folder, each whole or not at all; those that are there are kept.
 * Errors: STORE_DAMAGED, OUTPUT_WRITE, and those of the store.
 */
export async function fetchBundle(
  objects: Objects,
  name: string,
  { files }: BundleIndex,
  folder: string,
): Promise<void> {
  for (const file of files) {
    const path = join(folder, file.path);
    if (await holds(path, file)) continue;
    await mkdir(dirname(path), { recursive: true });
    await writeDurably(path, `${path}.partial`, (handle) =>
      fetchFile(objects, contentKey(name, file), file, handle),
    ).catch((error) => Promise.reject(writeError(error, path)));
  }
}

async function fetchFile(objects: Objects, key: string, { bytes, sha256 }: BundleFile, to: FileHandle): Promise<void> {
  const hash = createHash("sha256");
  await objects.getFile(key, bytes, async (chunk) => {
    await writeFully(to, chunk);
    hash.update(chunk);
  });
  if (hash.digest("hex") !== sha256) throw damaged(objects.placeOf(key), "its content has another digest");
}

async function holds(path: string, { bytes, sha256 }: BundleFile): Promise<boolean> {
  const handle = await open(path).catch(() => undefined);
  try {
    if (handle === undefined || (await handle.stat()).size !== bytes) return false;
    return (await digestOf(handle)).sha256 === sha256;
  } finally {
    await handle?.close();
  }
}

async function digestOf(handle: FileHandle): Promise<{ readonly bytes: number; readonly sha256: string }> {
  const hash = createHash("sha256");
  const block = new Uint8Array(BLOCK);
  let bytes = 0;
  for (;;) {
    const { bytesRead } = await handle.read(block, 0, BLOCK, bytes);
    if (bytesRead === 0) return { bytes, sha256: hash.digest("hex") };
    hash.update(block.subarray(0, bytesRead));
    bytes += bytesRead;
  }
}

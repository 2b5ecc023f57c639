import { mkdir, realpath, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { checkFileName, resolveInside } from "../../src/checkpoint/paths.js";
import { expectCode, temporaryFolder } from "./support.js";

it("accepts names and relative paths", () => {
  for (const name of ["model-00001-of-00002.safetensors", "templates/chat.jinja", "a b.txt", "..x", "é"]) {
    expect(checkFileName(name, "x")).toBe(name);
  }
});

it("follows links within the folder, and refuses those that lead out", async () => {
  const root = await temporaryFolder();
  const folder = join(root, "model");
  await mkdir(folder);
  await writeFile(join(folder, "a"), "");
  await writeFile(join(root, "secret"), "");
  await writeFile(join(root, "model-secret"), "");
  await symlink("a", join(folder, "inner"));
  await symlink("../secret", join(folder, "outer"));
  await symlink("../model-secret", join(folder, "neighbour"));
  await symlink("nowhere", join(folder, "dangling"));
  await symlink("loop", join(folder, "loop"));
  expect(await resolveInside(folder, "inner")).toBe(await realpath(join(folder, "a")));
  await expectCode("FILE_OUTSIDE", () => resolveInside(folder, "outer"));
  await expectCode("FILE_OUTSIDE", () => resolveInside(folder, "neighbour"));
  await expectCode("FILE_MISSING", () => resolveInside(folder, "dangling"));
  await expectCode("FILE_MISSING", () => resolveInside(folder, "none"));
  await expectCode("FILE_READ", () => resolveInside(folder, "loop"));
});

it("follows the links of the Hugging Face cache to the blobs of the same model alone", async () => {
  const cache = await temporaryFolder();
  const snapshot = join(cache, "models--org--name", "snapshots", "abc");
  await mkdir(snapshot, { recursive: true });
  for (const model of ["models--org--name", "models--org--other"]) {
    await mkdir(join(cache, model, "blobs"), { recursive: true });
    await writeFile(join(cache, model, "blobs", "etag"), "");
  }
  await symlink("../../blobs/etag", join(snapshot, "config.json"));
  await symlink("../../../models--org--other/blobs/etag", join(snapshot, "other"));
  expect(await resolveInside(snapshot, "config.json")).toBe(
    await realpath(join(cache, "models--org--name", "blobs", "etag")),
  );
  await expectCode("FILE_OUTSIDE", () => resolveInside(snapshot, "other"));
  // The same layout under another name is no cache.
  const fake = join(cache, "plain", "snapshots", "abc");
  await mkdir(fake, { recursive: true });
  await mkdir(join(cache, "plain", "blobs"));
  await writeFile(join(cache, "plain", "blobs", "etag"), "");
  await symlink("../../blobs/etag", join(fake, "config.json"));
  await expectCode("FILE_OUTSIDE", () => resolveInside(fake, "config.json"));
});

import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { compress } from "../../src/pipeline/compress.js";
import type { CompressEvent } from "../../src/pipeline/events.js";
import { follow } from "../../src/pipeline/follow.js";
import type { CompressOptions } from "../../src/pipeline/options.js";
import { folderDigest } from "../support/folder-digest.js";
import { GOLDENS } from "../support/goldens.js";

const source = join(GOLDENS, "ream/qwen3_moe");
const folder = mkdtempSync(join(tmpdir(), "ream-shards-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const options = (out: string, more: Partial<CompressOptions> = {}): CompressOptions => ({
  ...{ model: join(source, "model"), tokens: join(source, "calibration.safetensors") },
  ...{ experts: 12, method: "ream", groupSize: 4, backend: "reference", shards: "layer", out: join(folder, out) },
  ...more,
});

/** Files of an output that is not finished. */
const begun = (out: string) => readdirSync(join(folder, `${out}.partial`, "model"));

/** The file of a layer: the first is that of the tensors outside of them. */
const fileOf = (layer: number) => new RegExp(`^model-0000${layer + 2}-of-`);

/** Runs until something is said of the layer that comes last, and long enough for files to be written meanwhile. */
async function runToLastLayer(run: AsyncGenerator<unknown>): Promise<void> {
  for (;;) {
    const { value, done } = await run.next();
    if (done === true) throw new Error("it came to its end");
    const event = value as CompressEvent;
    if (event.type === "progress" && event.layer === event.layers - 1) break;
  }
}

describe("files of an output", () => {
  test("are written while the next layers are computed, and are not written again", async () => {
    const run = compress(options("along"));
    await runToLastLayer(run);
    await expect.poll(() => begun("along").some((name) => fileOf(0).test(name))).toBe(true);
    await run.return(undefined as never);
    const before = begun("along");
    // What waits for the last layer is not there.
    expect(before.filter((name) => name.endsWith(".safetensors")).length).toBeLessThan(4);
    expect(existsSync(join(folder, "along"))).toBe(false);

    await follow(compress(options("along")), () => undefined);
    await follow(compress(options("whole")), () => undefined);
    expect(folderDigest(join(folder, "along"))).toEqual(folderDigest(join(folder, "whole")));
  });

  test("that cannot be written end the run before all layers are computed", async () => {
    const run = compress(options("full"));
    const events: CompressEvent[] = [];
    const failing = async () => {
      for await (const event of run) {
        events.push(event as CompressEvent);
        // Where files are begun there is a file in place of the folder: as unwritable as a full disk.
        const fresh = join(folder, "full.partial", ".ream", "new");
        if (event.type === "start") {
          rmSync(fresh, { recursive: true });
          writeFileSync(fresh, "");
        }
      }
    };
    await expect(failing()).rejects.toMatchObject({ code: "OUTPUT_WRITE" });
    const planned = events.filter(({ type }) => type === "layer").length;
    expect(planned).toBeGreaterThan(0);
    expect(events.some(({ type }) => type === "shard")).toBe(false);
  });
});

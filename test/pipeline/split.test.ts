import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createNativeBackend } from "../../src/engine/native/native-backend.js";
import { observe } from "../../src/observe/observe.js";
import { compress } from "../../src/pipeline/compress.js";
import { follow } from "../../src/pipeline/follow.js";
import type { CompressOptions } from "../../src/pipeline/options.js";
import type { OutputIdentity } from "../../src/pipeline/output-identity.js";
import { makePart } from "../../src/pipeline/split/make-part.js";
import type { Part } from "../../src/pipeline/split/part.js";
import type { CompressElsewhere } from "../../src/pipeline/split/split.js";
import { MODEL, TEXT } from "../observe/demo-text.js";
import { folderDigest } from "../support/folder-digest.js";
import { writeQuantised } from "../support/quantised-model.js";

const folder = mkdtempSync(join(tmpdir(), "ream-split-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const observed = join(folder, "observed");
const MIX = "general=0.3,math=0.7";
beforeAll(async () => {
  await follow(observe({ model: MODEL, ...TEXT, out: observed, mix: [MIX], tokenCosines: true }), () => undefined);
});

let outputs = 0;
/** Options of a compression to a folder of its own. */
function options(changes: Partial<CompressOptions> = {}): CompressOptions & { out: string } {
  const out = join(folder, `out-${outputs++}`);
  return { model: MODEL, observed, mix: MIX, experts: 48, shards: "layer", out, ...changes } as never;
}

type Seen = { readonly part: Part; readonly identity: OutputIdentity };

/** Makes parts in this process, the last first. `before` may fail in place of a part. */
function makers(
  input: CompressOptions,
  before: (seen: Seen) => void | Promise<void> = () => undefined,
): CompressElsewhere {
  return async (partial, identity, parts, onMade) => {
    for (const part of [...parts].reverse()) {
      await before({ part, identity });
      await follow(makePart(input, { part, identity, partial }), () => undefined);
      await onMade(part);
    }
  };
}

const run = (input: CompressOptions, elsewhere?: CompressElsewhere) =>
  follow(compress(input, undefined, elsewhere), () => undefined);

const code = (name: string) => expect.objectContaining({ code: name });

/** The only file of its kind among the parts of an unfinished output. */
function partFile(out: string, name: string): string {
  const parts = join(`${out}.partial`, "parts");
  return join(parts, readdirSync(parts)[0]!, name);
}

describe("what others plan and write is, to the last byte, what one process makes:", () => {
  test.each([
    ["reap", {}],
    ["frequency", { shards: "source" }],
    ["ream", {}],
    ["ream", { shards: "source", outputDtype: "f32" }],
    ["ream-paper", {}],
    ["hc-smoe", {}],
  ] as [CompressOptions["method"], Partial<CompressOptions>][])("%s %o", async (method, changes) => {
    const [alone, split] = [options({ method, ...changes }), options({ method, ...changes })];
    await run(alone);
    const made: string[] = [];
    await run(
      split,
      makers(split, ({ part }) => void made.push(part.kind)),
    );
    expect(made.filter((kind) => kind === "layer")).toHaveLength(4);
    expect(made.filter((kind) => kind === "shard")).toHaveLength(changes.shards === "source" ? 1 : 5);
    expect(made.filter((kind) => kind === "source")).toHaveLength(2);
    expect(folderDigest(split.out)).toEqual(folderDigest(alone.out));
    expect(existsSync(`${split.out}.partial`)).toBe(false);
  });

  test("a plan that was given", async () => {
    const plan = join(folder, "plan.json");
    const { out: _, ...planned } = options({ dryRun: true });
    writeFileSync(plan, JSON.stringify(await run(planned)));
    const given = () => options({ plan, observed: undefined, mix: undefined, experts: undefined });
    const [alone, split] = [given(), given()];
    await run(alone);
    await run(split, makers(split));
    expect(folderDigest(split.out)).toEqual(folderDigest(alone.out));
  });
});

test("a quantised model, with what rounding its merged experts anew lost", async () => {
  const model = join(folder, "fp8");
  await writeQuantised(MODEL, model, "fp8-deepseek", createNativeBackend({ precision: "f32" }));
  const quantised = join(model, "quantised");
  for (const name of readdirSync(MODEL))
    if (/token/.test(name)) await cp(join(MODEL, name), join(quantised, name), { recursive: true });
  const seen = join(folder, "observed-fp8");
  const text = { ...TEXT, mix: [MIX], tokenCosines: true };
  await follow(observe({ model: quantised, ...text, out: seen }), () => undefined);
  const [alone, split] = [0, 1].map(() => options({ model: quantised, observed: seen }));
  await run(alone!);
  await run(split!, makers(split!));
  expect(folderDigest(split!.out)).toEqual(folderDigest(alone!.out));
  const { requantised } = JSON.parse(readFileSync(join(split!.out, "ream.json"), "utf8"));
  expect(requantised).toHaveLength(4);
});

test("what cannot be split is refused before anything is done", async () => {
  const refused = [
    options({ observed: undefined }),
    options({ method: "reap", sequential: false, observed: undefined }),
  ];
  for (const input of [...refused, options({ dryRun: true })])
    await expect(run(input, makers(input))).rejects.toEqual(code("SETTINGS_CONFLICT"));
});

test("what was made before a failure is kept, and recorded in the order of the layers", async () => {
  const [alone, split] = [options(), options()];
  await run(alone);
  const failing = makers(split, ({ part }) => {
    if (part.kind === "layer" && part.layer === 1) throw new Error("here");
  });
  await expect(run(split, failing)).rejects.toThrow("here");
  const journal = () => readFileSync(join(`${split.out}.partial`, ".ream/journal.jsonl"), "utf8");
  expect(journal()).toBe("");
  const again: Part[] = [];
  const stopping = makers(split, ({ part }) => {
    if (part.kind !== "layer") throw new Error("there");
    again.push(part);
  });
  await expect(run(split, stopping)).rejects.toThrow("there");
  expect(again).toEqual([
    { kind: "layer", layer: 1 },
    { kind: "layer", layer: 0 },
  ]);
  const layers = journal()
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line).plan.layer);
  expect(layers).toEqual([0, 1, 2, 3]);
  const parts: string[] = [];
  const failsLate = makers(split, ({ part }) => {
    parts.push(part.kind);
    if (parts.length === 4) throw new Error("late");
  });
  await expect(run(split, failsLate)).rejects.toThrow("late");
  // What one run begins another may end, with workers or without.
  await run(split);
  expect(folderDigest(split.out)).toEqual(folderDigest(alone.out));
});

test("a run that was begun without workers goes on with them", async () => {
  const [alone, split] = [options(), options()];
  await run(alone);
  const begun = compress(split);
  for (let step = await begun.next(); !step.done; step = await begun.next()) if (step.value.type === "layer") break;
  await begun.return(undefined as never);
  const layers: number[] = [];
  await run(
    split,
    makers(split, ({ part }) => void (part.kind === "layer" && layers.push(part.layer))),
  );
  expect(layers).toEqual([3, 2, 1]);
  expect(folderDigest(split.out)).toEqual(folderDigest(alone.out));
});

test("whoever would make other bytes is refused, and told why", async () => {
  const input = options();
  const elsewhere = makers({ ...input, backend: "reference" });
  await expect(run(input, elsewhere)).rejects.toMatchObject({ code: "OUTPUT_OTHER", message: /engine$/ });
  await expect(run(input, makers({ ...input, saliency: "sum" }))).rejects.toMatchObject({
    code: "OUTPUT_OTHER",
    message: expect.stringMatching(/in input$/),
  });
  const copy = join(folder, "copy");
  await cp(MODEL, copy, { recursive: true });
  await expect(run(input, makers({ ...input, model: copy }))).rejects.toEqual(code("OBSERVATION_MODEL"));
  await run(input, makers(input));
});

test("results that are damaged, or of another output, are refused by name", async () => {
  const input = options();
  const stop = makers(input, ({ part }) => {
    if (part.kind === "layer" && part.layer === 0) throw new Error("here");
  });
  await expect(run(input, stop)).rejects.toThrow("here");
  const path = partFile(input.out, "layer-00002.json");
  const good = readFileSync(path, "utf8");
  const { fingerprint } = JSON.parse(good);
  for (const bad of [
    "",
    good.slice(0, 100),
    good.replace('"layer":2', '"layer":3'),
    good.replace(/"weights":\[0/, '"weights":[1'),
    good.replace(fingerprint, "0".repeat(64)),
    readFileSync(partFile(input.out, "layer-00003.json"), "utf8"),
  ]) {
    expect(bad).not.toBe(good);
    writeFileSync(path, bad);
    await expect(run(input, makers(input)), bad.slice(0, 200)).rejects.toMatchObject({
      code: "PART_DAMAGED",
      where: path,
    });
  }
  rmSync(path);
  await run(input, makers(input));
});

test("who comes too late adds nothing to what is published, or begun anew", async () => {
  const input = options();
  const seen: Seen[] = [];
  await run(
    input,
    makers(input, (part) => void seen.push(part)),
  );
  const before = folderDigest(input.out);
  const partial = `${input.out}.partial`;
  for (const { part, identity } of seen)
    await expect(follow(makePart(input, { part, identity, partial }), () => undefined)).rejects.toEqual(
      code("OUTPUT_MISSING"),
    );
  expect(existsSync(partial)).toBe(false);
  expect(folderDigest(input.out)).toEqual(before);

  const other = { ...options(), out: join(folder, "anew") };
  let old: Seen | undefined;
  const stop = makers(other, (part) => {
    old = part;
    throw new Error("here");
  });
  await expect(run(other, stop)).rejects.toThrow("here");
  const anew = { ...other, method: "reap", restart: true } as const;
  const late = makers(anew, async () => {
    const making = makePart(other, { ...old!, partial: `${other.out}.partial` });
    await expect(follow(making, () => undefined)).rejects.toEqual(code("OUTPUT_MISSING"));
  });
  await run(anew, late);
});

test("an attempt that ends while the output is published leaves nothing there; halves of killed ones are removed", async () => {
  const input = options();
  let [half, left] = ["", 0];
  const elsewhere = makers(input, ({ part }) => {
    if (part.kind !== "shard") return;
    const attempts = partFile(input.out, "new");
    half = join(attempts, `model%${part.file}.${"0".repeat(36)}`);
    left = readdirSync(attempts).length;
    writeFileSync(half, "half");
  });
  await run(input, elsewhere);
  expect(half).not.toBe("");
  expect(left).toBe(0);

  const late = options();
  let making: ReturnType<typeof makePart> | undefined;
  const slow = makers(late, async ({ part, identity }) => {
    if (part.kind !== "shard" || making !== undefined) return;
    // The first event comes while the attempt's file is open.
    making = makePart(late, { part, identity, partial: `${late.out}.partial` });
    expect((await making.next()).value).toMatchObject({ type: "shard" });
  });
  await run(late, slow).catch(() => undefined);
  await follow(making!, () => undefined).catch(() => undefined);
  await run(late).catch((error: unknown) => expect(error).toEqual(code("OUTPUT_EXISTS")));
  expect(folderDigest(late.out)).toEqual(folderDigest(input.out));
  expect(existsSync(`${late.out}.partial`)).toBe(false);
});

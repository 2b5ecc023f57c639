import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { OutputFolder } from "../../src/checkpoint/output.js";
import { SafetensorsFile } from "../../src/checkpoint/safetensors.js";
import { temporaryFolder } from "./support.js";

// The writer of these tests is a process of its own, which can be killed: it needs compiled code.
let compiled: string;
beforeAll(async () => {
  compiled = await mkdtemp(join(tmpdir(), "ream-compiled-"));
  const root = resolve(".");
  const tsconfig = {
    extends: join(root, "tsconfig.json"),
    compilerOptions: { rootDir: join(root, "src"), outDir: compiled, typeRoots: [join(root, "node_modules/@types")] },
    include: [],
    files: [join(root, "src/checkpoint/output.ts")],
  };
  await writeFile(join(compiled, "tsconfig.json"), JSON.stringify(tsconfig));
  await writeFile(join(compiled, "package.json"), '{"type":"module"}');
  await writeFile(join(compiled, "writer.js"), WRITER);
  execFileSync(process.execPath, [
    join(root, "node_modules/typescript/bin/tsc"),
    "-p",
    join(compiled, "tsconfig.json"),
  ]);
});
afterAll(() => rm(compiled, { recursive: true, force: true }));

/** Writes 8 shards and an index, going on from the journal, and reports on stdout. */
const WRITER = `
import { OutputFolder, buildIndex } from "./checkpoint/output.js";
const [target, size] = [process.argv[2], Number(process.argv[3])];
console.log("{}");
try {
  const output = await OutputFolder.create(target, { fingerprint: "same" });
  const names = Array.from({ length: 8 }, (_, i) => "model-" + i + ".safetensors");
  const tensor = (i) => ({
    name: "t" + i,
    dtype: "U8",
    shape: [size],
    data: async function* () {
      for (let done = 0; done < size; done += 65536) yield new Uint8Array(Math.min(65536, size - done)).fill(i + 1);
    },
  });
  const done = new Set(output.journal.map((entry) => entry.name));
  for (const [i, name] of names.entries()) {
    if (done.has(name)) continue;
    await output.writeShard(name, [tensor(i)]);
    await output.append({ name });
  }
  const index = names.map((file, i) => ({ ...tensor(i), file }));
  await output.writeFile("model.safetensors.index.json", buildIndex(index));
  await output.writeFile("config.json", "{}");
  await output.finish();
  console.log(JSON.stringify({ resumed: done.size }));
} catch (error) {
  console.log(JSON.stringify({ code: error.code, message: error.message, hint: error.hint }));
  process.exitCode = 1;
}
`;

const SIZE = 200_000;

/** Runs the writer; what it reported at its end, or undefined where it was killed so long after its start. */
async function write(
  target: string,
  { killAfter, prefix = [] }: { killAfter?: number; prefix?: string[] } = {},
): Promise<Record<string, unknown> | undefined> {
  const [command, ...args] = [...prefix, process.execPath, join(compiled, "writer.js"), target, String(SIZE)];
  const child = spawn(command!, args, { stdio: ["ignore", "pipe", "inherit"] });
  const lines = createInterface(child.stdout);
  let report: Record<string, unknown> | undefined;
  let timer: NodeJS.Timeout | undefined;
  lines.on("line", (line) => {
    if (line !== "{}") report = JSON.parse(line);
    else if (killAfter !== undefined) timer = setTimeout(() => child.kill("SIGKILL"), killAfter);
  });
  await once(child, "close");
  clearTimeout(timer);
  return report;
}

async function expectWhole(target: string): Promise<void> {
  expect((await readdir(target)).length).toBe(10);
  const checkpoint = await Checkpoint.open(target);
  for (let i = 0; i < 8; i++) {
    const { data } = await checkpoint.read(`t${i}`);
    expect(Buffer.compare(data, Buffer.alloc(SIZE, i + 1))).toBe(0);
  }
  expect(checkpoint.warnings).toEqual([]);
  await checkpoint.close();
}

describe("OutputFolder", () => {
  it("survives SIGKILL at any moment: nothing half-written appears, and the work goes on", async () => {
    const folder = await temporaryFolder();
    let target = join(folder, "out0");
    let kills = 0;
    let resumed = 0;
    for (let run = 0; kills < 25; run++) {
      // Moments spread over the run, which goes on over several of them on a slow disk.
      const report = await write(target, { killAfter: 100 * ((run * 0.618) % 1) });
      expect(report ?? {}).not.toHaveProperty("code");
      if (report === undefined) kills++;
      resumed += Number(report?.resumed ?? 0);
      if (existsSync(target)) {
        await expectWhole(target);
        target = join(folder, `out${run + 1}`);
        continue;
      }
      const content = join(`${target}.partial`, "model");
      for (const name of await readdir(content).catch(() => [])) {
        if (name.endsWith(".safetensors")) await (await SafetensorsFile.open(join(content, name))).close();
      }
    }
    resumed += Number((await write(target))?.resumed ?? 0);
    await expectWhole(target);
    expect(resumed).toBeGreaterThan(0);
  });

  it("is written by one of two processes that start together", async () => {
    const target = join(await temporaryFolder(), "out");
    const reports = await Promise.all([write(target), write(target)]);
    const codes = reports.map((report) => report?.code);
    expect(codes.filter((code) => code === undefined).length).toBe(1);
    expect(codes.filter((code) => code === "OUTPUT_BUSY" || code === "OUTPUT_EXISTS").length).toBe(1);
    await expectWhole(target);
  });

  it.skipIf(process.platform === "win32")(
    "keeps what is done when writing fails, and goes on once there is room",
    async () => {
      const target = join(await temporaryFolder(), "out");
      // A limit on the size of files stands for the full disk: the system refuses the write.
      const limited = ["bash", "-c", 'trap "" XFSZ; ulimit -f 100; exec "$@"', "bash"];
      const report = await write(target, { prefix: limited });
      expect(report).toMatchObject({ code: "OUTPUT_WRITE", message: expect.stringContaining("EFBIG") });
      expect(report!.hint).toContain("same command");
      expect(existsSync(target)).toBe(false);
      expect(await readdir(join(`${target}.partial`, ".ream", "new"))).toEqual([]);
      await (await OutputFolder.create(target, { fingerprint: "same" })).close();
      expect(await write(target)).toEqual({ resumed: 0 });
      await expectWhole(target);
    },
  );
});

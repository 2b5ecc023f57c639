/**
 * Merge, prune or quantise? All of them on the demo model, at about equal bytes.
 *
 *     npm run build && node dist/demo/equal-bytes/main.js [--out FOLDER] [--limit ITEMS]
 *
 * Makes every model of `CANDIDATES` in FOLDER (what is there is not made again), puts all of them to the 14 tasks of the
 * demo world beside the original, and writes the table, results and the plot to FOLDER/results. With `--docs` they go to
 * docs/equal-bytes too.
 */
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createNativeBackend } from "../../src/engine/native/native-backend.js";
import { evaluate } from "../../src/evaluate/run/evaluate.js";
import { formatDuration } from "../../src/format.js";
import { packageFolder } from "../../src/package-folder.js";
import { compress } from "../../src/pipeline/compress.js";
import { follow } from "../../src/pipeline/follow.js";
import { CANDIDATES } from "./candidates.js";
import { plotRows } from "./plot.js";
import { type Row, rowsOf, tableOf } from "./results.js";

const SEED = 0;
const SEQUENCES = 512;
const LENGTH = 128;
const DOMAINS = ["general", "math", "code"] as const;

const { values: given } = parseArgs({
  options: {
    out: { type: "string", default: "equal-bytes" },
    limit: { type: "string", default: "200" },
    docs: { type: "boolean", default: false },
  },
});
const demo = join(packageFolder(), "demo");
const model = join(demo, "model");
const texts = (kind: "calibration" | "heldout") =>
  DOMAINS.map((domain) => `${domain}=${join(demo, "data", kind, `${domain}.jsonl`)}`);

const began = performance.now();
const sizes = new Map<string, Pick<Row, "name" | "kind" | "bytes" | "stored">>();
const models: string[] = [];
await mkdir(given.out, { recursive: true });
for (const { name, kind, options } of CANDIDATES) {
  const label = name.replaceAll(/[^a-z0-9.]+/g, "-");
  const out = join(given.out, label);
  const calibration = { mix: "general=0.34,math=0.33,code=0.33", domain: texts("calibration"), seed: SEED };
  const common = { ...options, ...calibration, model, sequences: SEQUENCES, length: LENGTH };
  const sizesFile = `${out}.json`;
  if (!existsSync(out) || !existsSync(sizesFile)) {
    process.stderr.write(`${name}\n`);
    const { bytes } = await follow(compress({ ...common, out, restart: true }), () => undefined);
    await writeFile(sizesFile, JSON.stringify(bytes));
  }
  const bytes = JSON.parse(await readFile(sizesFile, "utf8"));
  sizes.set("original", sizeOf("original", "original", { after: bytes.before }));
  sizes.set(label, sizeOf(name, kind, bytes));
  models.push(`${label}=${out}`);
}

const evaluation = await follow(
  evaluate(
    {
      models: [`original=${model}`, ...models],
      ...{ tasks: ["demo"], limit: Number(given.limit), out: join(given.out, "evaluation") },
      ...{ heldOut: texts("heldout"), heldOutSequences: 24, heldOutLength: LENGTH },
    },
    new AbortController().signal,
  ),
  (event) => {
    if (event.type === "note") process.stderr.write(`note: ${event.message}\n`);
  },
);
const rows = rowsOf(evaluation, sizes);
const seconds = (performance.now() - began) / 1000;
const { description } = createNativeBackend({ precision: "bf16" });
const about = {
  ...{ seed: SEED, sequences: SEQUENCES, length: LENGTH, items: Number(given.limit), seconds: Math.round(seconds) },
  machine: `${cpus()[0]?.model ?? "unknown"}, ${description}`,
};
const table = tableOf(rows);
for (const folder of [
  join(given.out, "results"),
  ...(given.docs ? [join(packageFolder(), "docs", "equal-bytes")] : []),
]) {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "results.json"), `${JSON.stringify({ about, rows }, null, 2)}\n`);
  await writeFile(join(folder, "table.txt"), `${table}\n`);
  await writeFile(join(folder, "plot.svg"), plotRows(rows));
}
process.stdout.write(
  `${table}\n\n${rows.length} models in ${formatDuration(seconds)} on ${about.machine}, seed ${SEED}\n`,
);

function sizeOf(name: string, kind: string, bytes: { after: number; sparse?: number }) {
  return { name, kind, bytes: bytes.sparse ?? bytes.after, stored: bytes.after };
}

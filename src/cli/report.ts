import { stat } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import { Command, Option } from "commander";
import { writeError, writeTextFile } from "../checkpoint/durable.js";
import { ReamError } from "../errors.js";
import { computeOptions } from "../pipeline/options.js";
import { type ReportOptions, reportOptions } from "../report/gather/options.js";
import { analyse } from "../study/analysis/analyse.js";
import { readItems } from "../study/items.js";
import { readResults } from "../study/results.js";
import { readOptions } from "./config-file.js";
import { ENGINE_GROUP } from "./option-groups.js";
import { addOutputOptions, type Outcome, type OutputFlags, type RunContext, runCommand } from "./run-command.js";
import { addSchemaOptions, givenOptions } from "./schema-options.js";

const EXAMPLES = `
Examples:
  $ ream report study
  $ ream report results.json --out page.html
  $ ream report Qwen3-96 --evaluation evaluation --held-out general=text.jsonl

\`ream study\` writes its page too; this draws it again, also from results alone (docs/study-analysis.md).`;

const COMPRESSION = Object.keys(reportOptions.shape).filter((key) => !(key in computeOptions.shape));

interface Flags extends OutputFlags {
  readonly out?: string;
}

export function reportCommand(done: (status: number) => void): Command {
  const command = new Command("report")
    .summary("the page of a study or of a compressed model, as one HTML file")
    .description("Draws tables and plots of what was found: one HTML file that needs nothing else.")
    .argument("<path>", "folder of a study, a results file, or folder of a compressed model")
    .addOption(new Option("--out <file>", "the page; by default report.html, or the file's name with .html"));
  addSchemaOptions(command, reportOptions, [{ heading: "Of a compressed model:", keys: COMPRESSION }, ENGINE_GROUP]);
  addOutputOptions(command).addHelpText("after", EXAMPLES);
  return command.action(async (path: string, flags: Flags) => {
    const given = givenOptions(command, reportOptions);
    done(await runCommand(flags, (context) => run(path, flags.out, given, context)));
  });
}

async function run(
  path: string,
  out: string | undefined,
  given: Readonly<Record<string, unknown>>,
  { signal }: RunContext,
): Promise<Outcome> {
  const folder = (await isThere(path, "isDirectory")) ? path : undefined;
  const page =
    out ?? (folder ? join(folder, "report.html") : join(dirname(path), `${basename(path, extname(path))}.html`));
  if (folder !== undefined && (await isThere(join(folder, "ream.json"), "isFile"))) {
    await drawCompression(folder, page, (await readOptions(reportOptions, undefined, given)) as ReportOptions, signal);
  } else {
    refuseUnused(given, path);
    await drawStudy(folder ? join(folder, "results.json") : path, page);
  }
  return { json: { report: page }, text: `Written to ${page}\n` };
}

async function isThere(path: string, kind: "isFile" | "isDirectory"): Promise<boolean> {
  return stat(path).then(
    (found) => found[kind](),
    () => false,
  );
}

async function drawStudy(file: string, page: string): Promise<void> {
  const results = await readResults(file);
  const analysis = analyse(results, { items: await readItems(results, file) });
  // Drawing takes a while to load.
  const { writeStudyReport } = await import("../study/write-report.js");
  await writeStudyReport(page, results, analysis, dirname(file));
}

async function drawCompression(
  folder: string,
  page: string,
  options: ReportOptions,
  signal: AbortSignal,
): Promise<void> {
  const { gatherCompression } = await import("../report/gather/compression.js");
  const { renderCompressionReport } = await import("../report/compression-report.js");
  const text = renderCompressionReport(await gatherCompression(folder, options, signal));
  await writeTextFile(page, text).catch((error) => Promise.reject(writeError(error, page)));
}

function refuseUnused(given: Readonly<Record<string, unknown>>, path: string): void {
  const [name] = Object.keys(given);
  if (name === undefined) return;
  throw new ReamError("OPTION_INVALID", `${name} belongs to the page of a compressed model, and this is none`, {
    where: path,
    hint: "Give the folder that `ream compress` has written.",
  });
}

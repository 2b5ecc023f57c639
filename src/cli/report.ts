import { stat } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import { Command, Option } from "commander";
import { analyse } from "../study/analysis/analyse.js";
import { readItems } from "../study/items.js";
import { readResults } from "../study/results.js";
import { addOutputOptions, type Outcome, type OutputFlags, runCommand } from "./run-command.js";

const EXAMPLES = `
Examples:
  $ ream report study
  $ ream report results.json --out page.html

\`ream study\` writes the page too; this draws it again, also from results alone (docs/study-analysis.md).`;

interface Flags extends OutputFlags {
  readonly out?: string;
}

export function reportCommand(done: (status: number) => void): Command {
  const command = new Command("report")
    .summary("the page of a study, as one HTML file")
    .description("Draws tables and plots of a study's results: one HTML file that needs nothing else.")
    .argument("<path>", "folder of a study, or a results file")
    .addOption(new Option("--out <file>", "the page; by default report.html, or the file's name with .html"));
  addOutputOptions(command).addHelpText("after", EXAMPLES);
  return command.action(async (path: string, flags: Flags) => {
    done(await runCommand(flags, () => draw(path, flags.out)));
  });
}

async function draw(path: string, out: string | undefined): Promise<Outcome> {
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
  const file = isFolder ? join(path, "results.json") : path;
  const results = await readResults(file);
  const analysis = analyse(results, { items: await readItems(results, file) });
  const page =
    out ?? (isFolder ? join(path, "report.html") : join(dirname(path), `${basename(path, extname(path))}.html`));
  // Drawing takes a while to load.
  const { writeStudyReport } = await import("../study/write-report.js");
  await writeStudyReport(page, results, analysis, dirname(file));
  return { json: { report: page }, text: `Written to ${page}\n` };
}

import { Command, CommanderError } from "commander";
import { VERSION } from "../version.js";
import { adviseCommand } from "./advise.js";
import { compressCommand } from "./compress.js";
import { demoCommand } from "./demo.js";
import { doctorCommand } from "./doctor.js";
import { evaluateCommand } from "./evaluate.js";
import { EXIT, formatFailure } from "./failures.js";
import { forwardCommand } from "./forward.js";
import { inspectCommand } from "./inspect.js";
import { observeCommand } from "./observe.js";
import { planCommand } from "./plan.js";
import { reportCommand } from "./report.js";
import { serveCommand } from "./serve.js";
import { studyCommand } from "./study.js";
import { tasksCommand } from "./tasks.js";
import { workerCommand } from "./worker.js";

/** Runs the command line `argv` (as process.argv) and returns the exit status. */
export async function main(argv: readonly string[]): Promise<number> {
  // `ream inspect MODEL | head` closes the pipe early, which is no failure.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(EXIT.done);
    throw error;
  });
  let status: number = EXIT.done;
  const done = (result: number) => {
    status = result;
  };
  const program = new Command("ream")
    .description("Compresses Mixture-of-Experts language models by merging their experts, and shows what it cost.")
    .version(VERSION, "-V, --version")
    .addHelpText(
      "after",
      "\n`ream COMMAND --help` shows the options and examples of a command. New here? `ream demo`.",
    );
  for (const command of [
    demoCommand,
    inspectCommand,
    adviseCommand,
    compressCommand,
    observeCommand,
    planCommand,
    studyCommand,
    reportCommand,
    workerCommand,
    evaluateCommand,
    tasksCommand,
    serveCommand,
    forwardCommand,
    doctorCommand,
  ])
    program.addCommand(command(done));
  for (const command of [program, ...program.commands]) {
    command.exitOverride().configureHelp({ helpWidth: helpWidth() });
  }
  try {
    await program.parseAsync([...argv]);
    return status;
  } catch (error) {
    // Commander has said what is wrong; help and version are no failures.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    process.stderr.write(formatFailure(error));
    return EXIT.failed;
  }
}

function helpWidth(): number {
  return Math.min(process.stdout.columns ?? 120, 120);
}

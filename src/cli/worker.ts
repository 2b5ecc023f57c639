import { resolve } from "node:path";
import { Command, Option } from "commander";
import { ReamError } from "../errors.js";
import { follow } from "../pipeline/follow.js";
import { localQueue } from "../study/local-queue.js";
import { doShare } from "../study/queue/share.js";
import { jobsOf } from "../study/run-study.js";
import { cacheFolder, parseStoreAddress } from "../study/store/address.js";
import { openStore } from "../study/store/store.js";
import { readStudy } from "../study/study-file.js";
import { addOutputOptions, type Outcome, type OutputFlags, type RunContext, runCommand } from "./run-command.js";
import { storeOption } from "./store-option.js";
import { studyFolder } from "./study-folder.js";
import { wholeNumber } from "./whole-number.js";

const EXAMPLES = `
Examples:
  $ ream worker --queue redis://host:6379
  $ ream worker --queue redis://host:6379 --out /mnt/shared/study
  $ ream worker --queue redis://host:6379 --store s3://bucket/study
  $ ream worker --study study.yaml --index 2 --of 8

With a queue it works until it is stopped: Ctrl-C or SIGTERM gives back what it is at. See docs/study-queue.md.`;

interface Flags extends OutputFlags {
  readonly queue?: string;
  readonly out?: string;
  readonly store?: string;
  readonly lockSeconds: number;
  readonly study?: string;
  readonly index?: number;
  readonly of?: number;
}

export function workerCommand(done: (status: number) => void): Command {
  const queue = "With a queue:";
  const share = "Without one:";
  const command = new Command("worker")
    .summary("does jobs of studies, observations and compressions that run on several machines")
    .description(
      "Does the jobs of `ream study --queue`, `ream observe --queue` and `ream compress --queue`, or a share of a study's jobs.",
    )
    .addOption(
      new Option(
        "--out <folder>",
        "as this machine sees it: the folder of a study or an observation, or OUT.partial of a compression",
      ),
    )
    .addOption(storeOption())
    .addOption(
      new Option("--queue <url>", "Redis or Valkey: redis[s]://[user:password@]host[:port][/db]").helpGroup(queue),
    )
    .addOption(
      new Option("--lock-seconds <number>", "after so long without a sign of a worker its job is given to another")
        .argParser(wholeNumber(1))
        .default(30)
        .helpGroup(queue),
    )
    .addOption(new Option("--study <file>", "YAML or JSON file of a study").helpGroup(share))
    .addOption(new Option("--index <number>", "which share, counted from 0").argParser(wholeNumber(0)).helpGroup(share))
    .addOption(new Option("--of <number>", "number of shares").argParser(wholeNumber(1)).helpGroup(share));
  addOutputOptions(command).addHelpText("after", EXAMPLES);
  return command.action(async (flags: Flags) => {
    done(await runCommand(flags, (context) => run(flags, context), "Interrupted. The same command goes on."));
  });
}

async function run(flags: Flags, context: RunContext): Promise<Outcome> {
  if ((flags.queue === undefined) === (flags.study === undefined)) {
    throw new ReamError("OPTION_MISSING", "a worker takes its jobs from a queue or from a study's file", {
      hint: "Give --queue URL, or --study FILE --index N --of M.",
    });
  }
  return flags.queue === undefined ? workOnShare(flags, context) : workOnQueue(flags.queue, flags, context);
}

async function workOnQueue(url: string, flags: Flags, { signal, onEvent, note }: RunContext) {
  const { out, lockSeconds, store: place } = flags;
  const folder = out === undefined ? undefined : resolve(out);
  const store =
    place === undefined ? undefined : await openStore(place, folder ?? cacheFolder(parseStoreAddress(place)), signal);
  // Loading what talks to Redis takes longer than all else.
  const { runWorker } = await import("../study/queue/worker.js");
  const { done, failed } = await runWorker({
    ...{ url, folder, store, lockSeconds, signal, note },
    onEvent: (label, event) => onEvent({ type: "job-event", id: "", label, event }),
  }).finally(() => store?.close());
  return { json: { done, failed }, text: `${done} jobs done, ${failed} failed\n` };
}

async function workOnShare(
  { study: file = "", out, store: place, index, of }: Flags,
  context: RunContext,
): Promise<Outcome> {
  const { signal, onEvent } = context;
  const study = await readStudy(file);
  const folder = studyFolder(file, study, out);
  if (index === undefined || of === undefined || index >= of) {
    throw new ReamError("OPTION_MISSING", "it is not said which share of the jobs is meant", {
      where: file,
      hint: "Give --index N --of M, where N is less than M.",
    });
  }
  if (study.search !== undefined) {
    throw new ReamError("STUDY_SEARCH", "what a search evaluates follows from what it measures before", {
      where: file,
      hint: "Use a queue (ream study --queue), or a study without search.",
    });
  }
  const store = await openStore(place, folder, signal);
  const queue = localQueue(folder, { hours: study.budget.hours }, signal, store);
  const jobs = await jobsOf(study, signal);
  const outcomes = await follow(doShare(jobs, { store, queue, signal, index, of }), onEvent).finally(() =>
    store.close(),
  );
  const count = (state: string) => outcomes.filter((outcome) => outcome.state === state).length;
  const [done, failed, leftOut] = [count("done"), count("failed"), count("left-out")];
  if (failed > 0) {
    throw new ReamError("JOBS_FAILED", `${failed} jobs failed, ${done} are done`, {
      where: folder,
      hint: "jobs/*/failure.json tell why. The same command tries them again.",
    });
  }
  return { json: { done, leftOut }, text: `${done} jobs done, ${leftOut} left out\n` };
}

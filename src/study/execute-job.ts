import { copyFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { evaluateItems } from "../evaluate/run/evaluate.js";
import type { EvaluateEvent } from "../evaluate/run/events.js";
import type { HubEvent } from "../hub/settings.js";
import { MANIFEST_NAME } from "../observe/manifest.js";
import { type ObserveEvent, observe } from "../observe/observe.js";
import { exists } from "../observe/partial.js";
import { compress } from "../pipeline/compress.js";
import type { CompressEvent } from "../pipeline/events.js";
import { follow } from "../pipeline/follow.js";
import { openBackend } from "../pipeline/open-backend.js";
import { openModel } from "../pipeline/open-model.js";
import { Attempt } from "./attempt.js";
import { itemsOf, type StudyItems } from "./items.js";
import type { Job, JobSpec, StudyJudging } from "./job.js";
import { forgetFailure, type JobResult, jobFolder, readResult, writeResult } from "./job-folder.js";
import { measureOnText } from "./measure-held-out.js";
import { PeakMemory } from "./peak-memory.js";
import { scoredOf } from "./scored.js";
import { SharedFolder, type Store } from "./store/store.js";

export type JobEvent = CompressEvent | ObserveEvent | EvaluateEvent | HubEvent;

/** What a job has while it works. */
export interface JobContext {
  /** Folder of the study. */
  readonly out: string;
  /** Where others find what is made in it; default: all see the folder. */
  readonly store?: Store;
  readonly signal: AbortSignal;
  readonly onEvent: (event: JobEvent) => void;
}

/** Does a job, or takes what an earlier run has made of it. Whoever does it, and however often, the result is the same. */
export async function executeJob(job: Job, context: JobContext): Promise<JobResult> {
  const { store = new SharedFolder(context.out) } = context;
  const done = await store.job(job.id);
  if (done !== undefined) return done;
  for (const id of job.needs) await store.job(id);
  const notes: string[] = [];
  const noting: JobContext = {
    ...context,
    onEvent: (event) => {
      if (event.type === "note" && !notes.includes(event.message)) notes.push(event.message);
      context.onEvent(event);
    },
  };
  const attempt = await Attempt.begin(jobFolder(context.out, job.id));
  const memory = new PeakMemory();
  try {
    const began = performance.now();
    const { items, ...made } = await work(job, attempt.folder, noting);
    const seconds = (performance.now() - began) / 1000;
    const memoryBytes = memory.stop();
    await writeResult(attempt.folder, job, items, { ...made, seconds, memoryBytes, notes });
    await attempt.publish();
  } catch (error) {
    // Another attempt was faster, and deleted this one.
    if ((await readResult(context.out, job.id)) === undefined) throw error;
  } finally {
    memory.stop();
    await attempt.leave();
  }
  await forgetFailure(context.out, job.id);
  return (await store.job(job.id))!;
}

type Made = Pick<JobResult, "scored" | "heldOut" | "rank" | "layerErrors" | "outputBytes"> & {
  readonly items?: StudyItems | undefined;
};

async function work({ spec }: Job, folder: string, context: JobContext): Promise<Made> {
  switch (spec.kind) {
    case "original":
      return judge(spec, spec.model, "original", folder, context);
    case "observe": {
      const out = join(folder, "observation");
      // An attempt that was killed behind its end has left a whole one.
      if (await exists(join(out, MANIFEST_NAME))) return {};
      const options = { ...textOptions(spec), ...spec.engine, model: spec.model, out, mix: [...spec.mixes] };
      await follow(observe(options, context.signal), context.onEvent);
      return {};
    }
    case "compress":
    case "predict": {
      const out = join(folder, "model");
      const vain = join(folder, "model-vain");
      await rm(vain, { recursive: true, force: true });
      if (!(await exists(join(out, "ream.json")))) {
        // Answers belong to the very files of a model: one that is made anew is asked anew.
        await rm(join(folder, "evaluation"), { recursive: true, force: true });
        await follow(compress(compressOptions(spec, out, context), context.signal), context.onEvent);
      }
      const made = await judge(spec, out, spec.name, folder, context);
      // What was merged is of interest when the checkpoint is gone.
      await copyFile(join(out, "ream.json"), join(folder, "manifest.json"));
      if (spec.kind === "predict" || !spec.keepModel) {
        // Under another name first: half a model is none.
        await rename(out, vain);
        await rm(vain, { recursive: true, force: true });
      }
      return made;
    }
  }
}

function compressOptions(
  spec: Extract<JobSpec, { kind: "compress" | "predict" }>,
  out: string,
  context: JobContext,
): Parameters<typeof compress>[0] {
  const { method, settings, experts, mix, observed, engine, model } = spec;
  const common = { ...settings, ...engine, model, out, experts, method, mix };
  if (observed === undefined) return { ...common, ...textOptions(spec, mix) };
  return { ...common, observed: join(jobFolder(context.out, observed), "observation") };
}

/** Calibration options of a text; of a mix only the domains that it names. */
function textOptions({ text }: { readonly text: Extract<JobSpec, { kind: "observe" }>["text"] }, mix?: string) {
  const used = (name: string) =>
    mix === undefined || mix.split(",").some((share) => share.trim().startsWith(`${name}=`));
  const list = (values: Readonly<Record<string, string>>) =>
    Object.entries(values).flatMap(([name, value]) => (used(name) ? [`${name}=${value}`] : []));
  const { domains, fields, sequences, length, seed } = text;
  return { domain: list(domains), field: list(fields), sequences, length, seed };
}

/** Puts the model in `judged` to the tasks and to held-out text. */
async function judge(
  { model, engine, judging }: Extract<JobSpec, { judging: StudyJudging }>,
  judged: string,
  label: string,
  folder: string,
  context: JobContext,
): Promise<Made> {
  const { signal } = context;
  const original = await openModel(model, { signal, onEvent: context.onEvent });
  const candidate = judged === model ? original : await openModel(judged);
  try {
    const backend = openBackend(engine, original, (message) => context.onEvent({ type: "note", message }));
    const outputBytes = [...candidate.checkpoint.tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0);
    const text = { outputBytes, ...(await measureOnText(original, candidate, backend, judging, signal)) };
    if (judging.tasks.length === 0) return text;
    const detailed = await follow(
      evaluateItems(
        {
          models: [`${label}=${judged}`],
          out: join(folder, "evaluation"),
          tasks: [...judging.tasks],
          data: [...judging.data],
          ...(judging.limit !== undefined && { limit: judging.limit }),
          ...engine,
        },
        signal,
      ),
      context.onEvent,
    );
    const scored = scoredOf(detailed.evaluation.subjects[0]!, text.heldOut);
    return { ...text, scored, items: itemsOf(detailed.judged[0]!) };
  } finally {
    if (candidate !== original) await candidate.checkpoint.close();
    await original.checkpoint.close();
  }
}

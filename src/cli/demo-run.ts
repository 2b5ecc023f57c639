import { existsSync } from "node:fs";
import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Calibration } from "../calibration/calibration.js";
import { loadCalibration } from "../calibration/load-calibration.js";
import { parseMix } from "../calibration/mix.js";
import { calibrationOptions } from "../calibration/options.js";
import type { Backend } from "../engine/backend.js";
import { ReamError } from "../errors.js";
import { type HeldOutMeasure, type LastHidden, lastHidden, measureHeldOut } from "../evaluate/held-out.js";
import { evaluate } from "../evaluate/run/evaluate.js";
import type { Evaluation } from "../evaluate/run/evaluation.js";
import type { TokenBatch } from "../model/layer.js";
import { packageFolder } from "../package-folder.js";
import { makeBatches } from "../pipeline/batches.js";
import { compress } from "../pipeline/compress.js";
import { follow } from "../pipeline/follow.js";
import { openBackend } from "../pipeline/open-backend.js";
import { type OpenedModel, openModel } from "../pipeline/open-model.js";
import type { CompressOptions } from "../pipeline/options.js";
import { sha256 } from "../sha256.js";
import { type DemoStudy, runDemoStudy } from "./demo-study.js";
import type { RunContext } from "./run-command.js";

export const DEMO_DOMAINS = ["general", "math", "code"] as const;
export const DEMO_MIX = "general=0.34,math=0.33,code=0.33";

const EXPERTS = [48, 32];
const METHODS = ["ream", "reap"] as const;
const LENGTH = 128;
/** Calibration sequences. The plain TypeScript backend takes fewer, so that the demo stays a matter of minutes. */
const SEQUENCES = { native: 512, reference: 24 };
/** Held-out sequences a domain, at most as many as calibration sequences. */
const HELD_OUT = { native: 24, reference: 12 };
/** Items of each of the 14 tasks. */
const ITEMS = { native: 100, reference: 4 };

type Options = Pick<CompressOptions, "backend" | "precision" | "threads"> & {
  readonly out: string;
  readonly mix: string;
  /** Calibration sequences; undefined: as many as suit the backend. */
  readonly sequences: number | undefined;
  /** Items of each task; undefined: as many as suit the backend. */
  readonly items: number | undefined;
};

/** A model of the demo and how it does on held-out text, by domain. */
export interface DemoRow {
  readonly name: string;
  readonly method: string | undefined;
  readonly experts: number;
  readonly bytes: number;
  readonly folder: string;
  readonly heldOut: Readonly<Record<string, HeldOutMeasure>>;
}

export interface DemoResult {
  readonly out: string;
  readonly mix: string;
  readonly backend: string;
  readonly sequences: number;
  readonly length: number;
  readonly rows: readonly DemoRow[];
  /** All models on the tasks of the demo world. */
  readonly evaluation: Evaluation;
  readonly study: DemoStudy;
}

interface HeldOutSet {
  readonly domain: string;
  readonly batches: readonly TokenBatch[];
  original?: LastHidden;
}

/**
 * Compresses the demo's model from 64 to 48 and to 32 experts with `ream` and `reap`, measures each result, beside the
 * original, on held-out text, and puts all of them to the 14 tasks of the demo world. Then a small study of three mixes.
 * Results of an earlier demo in the same folder are replaced; nothing else is.
 * Errors: DEMO_MISSING, OUTPUT_EXISTS, and those of a compression.
 */
export async function runDemo(options: Options, context: RunContext): Promise<DemoResult> {
  const demo = await findDemo();
  const targets = EXPERTS.flatMap((experts) =>
    METHODS.map((method) => ({ experts, method, name: `${method}-${experts}` })),
  );
  const folder = (name: string) => join(options.out, name);
  for (const { name } of targets) await checkReplaceable(folder(name), demo.digest);
  // What is to be said of the backend and the calibration text is the same for every run.
  const said = new Set<string>();
  const note = (text: string) => {
    if (!said.has(text)) context.note(text);
    said.add(text);
  };
  const original = await openModel(demo.model);
  try {
    const backend = makeBackend(options, original, note);
    const calibration = calibrationOf(demo.folder, options.mix, options.sequences ?? SEQUENCES[backend.name]);
    const heldOut = await loadHeldOut(demo.folder, original, Math.min(HELD_OUT[backend.name], calibration.sequences));
    const measureModel = (name: string, method: string | undefined, open: OpenedModel) =>
      measure({ name, method, open, heldOut, backend, signal: context.signal });
    note("The original is measured first, then each result when it is there.");
    const rows = [await measureModel("original", undefined, original)];
    await mkdir(options.out, { recursive: true });
    for (const { experts, method, name } of targets) {
      await rm(folder(name), { recursive: true, force: true });
      const { backend: choice, precision, threads } = options;
      const target = { model: demo.model, experts, method, out: folder(name), restart: true };
      const run = compress({ ...calibration, backend: choice, precision, threads, ...target }, context.signal);
      await follow(run, (event) => (event.type === "note" ? note(event.message) : context.onEvent(event, name)));
      const compressed = await openModel(folder(name));
      try {
        rows.push(await measureModel(name, method, compressed));
      } finally {
        await compressed.checkpoint.close();
      }
    }
    const { backend: choice, precision, threads, out } = options;
    const evaluation = await follow(
      evaluate(
        {
          models: rows.map(({ name, folder }) => `${name}=${folder}`),
          tasks: ["demo"],
          out: join(out, "evaluation"),
          limit: options.items ?? ITEMS[backend.name],
          restart: true,
          ...{ backend: choice, precision, threads },
        },
        context.signal,
      ),
      (event) => (event.type === "note" ? note(event.message) : context.onEvent(event)),
    );
    const { mix, sequences, length } = calibration;
    const study = await runDemoStudy(
      demo.folder,
      join(out, "study"),
      {
        ...{ sequences, heldOutSequences: HELD_OUT[backend.name], limit: options.items ?? ITEMS[backend.name] },
        ...{ backend: choice ?? "auto", precision: precision ?? "auto", threads },
      },
      {
        signal: context.signal,
        onEvent: (event) => (event.type === "note" ? note(event.message) : context.onEvent(event)),
      },
    );
    return {
      out,
      mix,
      backend: `${backend.name} (${backend.description})`,
      sequences,
      length,
      rows,
      evaluation,
      study,
    };
  } finally {
    await original.checkpoint.close();
  }
}

function makeBackend(options: Options, original: OpenedModel, note: (text: string) => void): Backend {
  const { backend: choice = "auto", precision = "auto", threads } = options;
  const backend = openBackend({ backend: choice, precision, threads }, original, note);
  if (backend.name === "reference" && options.sequences === undefined) {
    note(
      `The demo takes ${SEQUENCES.reference} calibration sequences in place of ${SEQUENCES.native}, so the results are rougher.`,
    );
  }
  return backend;
}

/** The files that come with the package, and the digest by which results of the demo are known. */
async function findDemo(): Promise<{ folder: string; model: string; digest: string }> {
  const folder = join(packageFolder(), "demo");
  const weights = join(folder, "model", "model.safetensors");
  try {
    const digest = sha256(await readFile(weights));
    return { folder, model: join(folder, "model"), digest };
  } catch (cause) {
    throw new ReamError("DEMO_MISSING", "the demo's model is not there", {
      where: weights,
      hint: "Install the package again; the files of demo/ belong to it.",
      cause,
    });
  }
}

/** A folder may be replaced where its manifest names the demo's model as the source, or where there is none. */
async function checkReplaceable(folder: string, digest: string): Promise<void> {
  if (!existsSync(folder)) return;
  try {
    const manifest = JSON.parse(await readFile(join(folder, "ream.json"), "utf8"));
    if (manifest.source.files.some(({ sha256 }: { sha256: string }) => sha256 === digest)) return;
  } catch {
    // No manifest, or none of ours: not the demo's to replace.
  }
  throw new ReamError("OUTPUT_EXISTS", "the folder is there, and no result of this demo", {
    where: folder,
    hint: "Choose another folder with --out.",
  });
}

function calibrationOf(folder: string, mix: string, sequences: number) {
  const names = parseMix(mix).map(({ name }) => name);
  const unknown = names.find((name) => !DEMO_DOMAINS.some((domain) => domain === name));
  if (unknown !== undefined) {
    throw new ReamError("OPTION_INVALID", `the demo has no domain ${unknown}`, {
      where: "--mix",
      hint: `Its domains are ${DEMO_DOMAINS.join(", ")}.`,
    });
  }
  const domain = DEMO_DOMAINS.filter((name) => names.includes(name)).map(
    (name) => `${name}=${join(folder, "data", "calibration", `${name}.jsonl`)}`,
  );
  return { mix, domain, sequences, length: LENGTH };
}

async function loadHeldOut(
  folder: string,
  { folder: model, model: { vocabularySize } }: OpenedModel,
  sequences: number,
): Promise<HeldOutSet[]> {
  const sets: HeldOutSet[] = [];
  for (const domain of DEMO_DOMAINS) {
    const options = calibrationOptions.parse({
      mix: domain,
      domain: [`${domain}=${join(folder, "data", "heldout", `${domain}.jsonl`)}`],
      sequences,
      length: LENGTH,
    });
    const tokens: Calibration = await loadCalibration(options, { model, vocabularySize });
    sets.push({ domain, batches: makeBatches(tokens, { batchSequences: 0 }) });
  }
  return sets;
}

interface Measurement extends Pick<DemoRow, "name" | "method"> {
  readonly open: OpenedModel;
  readonly heldOut: readonly HeldOutSet[];
  readonly backend: Backend;
  readonly signal: AbortSignal;
}

/** Measures a model against the original, which has to be the first. */
async function measure({ name, method, open, heldOut, backend, signal }: Measurement): Promise<DemoRow> {
  const measured: Record<string, HeldOutMeasure> = {};
  for (const set of heldOut) {
    signal.throwIfAborted();
    const hidden = await lastHidden(open, backend, set.batches, signal);
    set.original ??= hidden;
    measured[set.domain] = await measureHeldOut(set.original, hidden, backend, set.batches);
  }
  const bytes = [...open.checkpoint.tensors.values()].reduce((sum, tensor) => sum + tensor.bytes, 0);
  return { name, method, experts: open.model.experts, bytes, folder: open.folder, heldOut: measured };
}

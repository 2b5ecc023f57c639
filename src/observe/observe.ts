import { randomUUID } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { CalibrationEvent } from "../calibration/load-calibration.js";
import { writeDurably, writeFully, writeJsonFile } from "../checkpoint/durable.js";
import { takeLock } from "../checkpoint/lock.js";
import { METHODS } from "../compress/settings.js";
import type { Backend } from "../engine/backend.js";
import { type HubEvent, hubOptionsFromEnvironment } from "../hub/settings.js";
import { isMoe } from "../model/description.js";
import { expertLimits } from "../pipeline/check-experts.js";
import type { CompressEvent } from "../pipeline/events.js";
import { memoryEstimate } from "../pipeline/inspect.js";
import { type MemoryPlan, planMemory } from "../pipeline/memory-plan.js";
import { openBackend } from "../pipeline/open-backend.js";
import { type OpenedModel, openModel } from "../pipeline/open-model.js";
import { parseOptions } from "../pipeline/parse-options.js";
import { refuseObservation } from "../pipeline/refuse-source.js";
import { relay } from "../pipeline/relay.js";
import { modelIdentity } from "../pipeline/source-identity.js";
import { VERSION } from "../version.js";
import type { Unit } from "./cuts.js";
import { type DomainText, loadDomains } from "./load-domains.js";
import { MANIFEST_NAME, type ObservationManifest, unitPath } from "./manifest.js";
import { type ObserveLayersOptions, observeLayers } from "./observe-layers.js";
import { type ObserveOptions, observeOptions, type ResolvedObserveOptions } from "./options.js";
import { checkClaim, checkUnits, claim, endClaim, missingUnits, removeHalves } from "./partial.js";
import { encodeUnit } from "./unit-file.js";

export type ObserveEvent =
  | Extract<CompressEvent, { type: "note" | "progress" }>
  | CalibrationEvent
  | HubEvent
  | { readonly type: "observed"; readonly layer: number; readonly seconds: number };

/** Has units observed by other processes, which write their files to `folder`; ends when all are there. */
export type ObserveElsewhere = (folder: string, units: readonly Unit[]) => Promise<void>;

export interface ObserveResult {
  readonly out: string;
  readonly manifest: ObservationManifest;
}

/**
 * Observes a model on the text of each domain once and saves the sums from which plans for every mix, method and number of
 * experts are made (docs/observation.md). Interrupted, it goes on when it is called again with the same options.
 * @param elsewhere has units observed by others; without it they are observed here
 */
export async function* observe(
  input: ObserveOptions,
  signal?: AbortSignal,
  elsewhere?: ObserveElsewhere,
): AsyncGenerator<ObserveEvent, ObserveResult> {
  const options = parseOptions(observeOptions, input);
  const opened = yield* openSource(options, signal);
  try {
    const prepared = yield* prepareObservation(options, opened, signal);
    const { manifest } = prepared;
    const out = resolve(options.out);
    await mkdir(out, { recursive: true });
    const release = await takeLock(out);
    try {
      await claim(out, manifest, options.restart);
      if (elsewhere === undefined) {
        yield* writeUnits({ ...prepared, folder: out, signal });
      } else {
        await elsewhere(out, await missingUnits(out, manifest));
        await checkUnits(out, manifest);
      }
      await removeHalves(out, manifest);
      await writeJsonFile(join(out, MANIFEST_NAME), manifest);
      await endClaim(out);
      return { out, manifest };
    } finally {
      await release();
    }
  } finally {
    await opened.checkpoint.close();
  }
}

/**
 * Observes one unit of an observation that another process began in `input.out`, and writes the files that are missing.
 * Errors: OBSERVATION_OTHER where model, text or engine are not those of that process.
 */
export async function* observeUnit(
  input: ObserveOptions,
  unit: Unit,
  signal?: AbortSignal,
): AsyncGenerator<ObserveEvent, void> {
  const options = parseOptions(observeOptions, input);
  const opened = yield* openSource(options, signal);
  try {
    const prepared = yield* prepareObservation(options, opened, signal);
    const folder = resolve(options.out);
    await checkClaim(folder, prepared.manifest);
    yield* writeUnits({ ...prepared, folder, only: unit, signal });
  } finally {
    await opened.checkpoint.close();
  }
}

async function* openSource(
  { model }: ResolvedObserveOptions,
  signal: AbortSignal | undefined,
): AsyncGenerator<ObserveEvent, OpenedModel> {
  const opened = yield* relay((onEvent: (event: HubEvent) => void) => openModel(model, { onEvent, signal }));
  try {
    // What is observed is to be compressed.
    refuseObservation(opened);
    return opened;
  } catch (error) {
    await opened.checkpoint.close();
    throw error;
  }
}

/** Everything that observing needs: the text, the backend, and what the observation is going to be. */
async function* prepareObservation(
  options: ResolvedObserveOptions,
  opened: OpenedModel,
  signal: AbortSignal | undefined,
): AsyncGenerator<ObserveEvent, Omit<ObserveLayersOptions, "folder" | "signal">> {
  const notes: string[] = [];
  const backend = openBackend(options, opened, (note) => notes.push(note));
  const { checkpoint, model, folder } = opened;
  const texts = yield* relay((onEvent: (event: HubEvent | CalibrationEvent) => void) =>
    loadDomains(options, {
      model: folder,
      vocabularySize: model.vocabularySize,
      hub: { ...hubOptionsFromEnvironment(process.env), onEvent, signal },
      onEvent,
    }),
  );
  const memory = memoryOf(options, opened, backend, texts);
  for (const message of [...notes, ...memory.notes, ...texts.flatMap(({ calibration }) => calibration.notes)])
    yield { type: "note", message };
  const manifest = await describe(options, opened, backend, texts);
  return { checkpoint, model, backend, texts, manifest, statesInFiles: memory.statesInFile > 0 };
}

/** The memory that is planned: that of a compression in which nothing is aligned and merged. Errors: MEMORY_LIMIT. */
function memoryOf(
  { memoryLimit, pruningOnly, samples }: ResolvedObserveOptions,
  opened: OpenedModel,
  { precision }: Backend,
  texts: readonly DomainText[],
): MemoryPlan {
  const sequences = texts.reduce((sum, { calibration }) => sum + calibration.sequences, 0);
  const { length } = texts[0]!.calibration;
  const settings = { ...(pruningOnly ? METHODS.reap : METHODS.ream).settings, samples };
  const work = { sequences, length, precision, kept: opened.model.experts, settings };
  const { alignment, bytes, ...estimate } = memoryEstimate(opened, work);
  const needed = { ...estimate, alignment: 0, bytes: bytes - alignment };
  return planMemory(needed, memoryLimit);
}

async function* writeUnits(options: ObserveLayersOptions): AsyncGenerator<ObserveEvent, void> {
  for await (const event of observeLayers(options)) {
    if (event.type !== "unit") {
      yield event;
      continue;
    }
    const path = join(options.folder, unitPath(event.unit, event.layer));
    const content = encodeUnit(event.statistics, event.about);
    // A name of its own: another process may be writing the same file.
    await writeDurably(path, `${path}.${randomUUID()}.partial`, (handle) => writeFully(handle, content));
  }
}

async function describe(
  options: ResolvedObserveOptions,
  { checkpoint, folder, model, name }: OpenedModel,
  backend: Backend,
  texts: readonly DomainText[],
): Promise<ObservationManifest> {
  const { pruningOnly, gatedOutputs, tokenCosines, sequences, length, seed, samples } = options;
  return {
    format: "ream-observation",
    version: 1,
    program: VERSION,
    model: { name, family: model.family, identity: await modelIdentity({ checkpoint, folder }) },
    engine: { backend: backend.name, precision: backend.precision, variant: backend.variant },
    layers: model.layers.filter(isMoe).map(({ index }) => index),
    limits: expertLimits(model),
    hidden: model.layers.find(isMoe)!.feedForward.experts.hidden,
    statistics: {
      gateGram: !pruningOnly,
      activations: pruningOnly ? "none" : gatedOutputs ? "gated" : "plain",
      tokenCosines: tokenCosines && !pruningOnly,
      coactivation: true,
    },
    calibration: {
      sequences,
      length,
      seed,
      samplesPerSequence: pruningOnly ? 0 : Math.max(1, Math.floor(samples / sequences)),
    },
    domains: Object.fromEntries(
      texts.map(({ name, calibration, cuts }) => {
        const { source, tokens } = calibration.domains[0]!;
        return [name, { source, tokens, digest: calibration.digest, cuts: [...cuts] }];
      }),
    ),
  };
}

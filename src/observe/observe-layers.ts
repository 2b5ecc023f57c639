import { randomUUID } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import type { Checkpoint } from "../checkpoint/checkpoint.js";
import { layerSeed } from "../compress/samples.js";
import type { Backend } from "../engine/backend.js";
import { isMoe, type LayerDescription, type ModelDescription } from "../model/description.js";
import { embedBatches } from "../model/embedding-rows.js";
import { type HiddenStates, openStates } from "../model/hidden-states.js";
import { Layer, type TokenBatch } from "../model/layer.js";
import { MoeBlock, type MoeTensors, readMoe } from "../model/moe.js";
import { makeBatches } from "../pipeline/batches.js";
import type { CompressEvent } from "../pipeline/events.js";
import { type Unit, unitsOf } from "./cuts.js";
import type { DomainText } from "./load-domains.js";
import { type ObservationManifest, unitPath } from "./manifest.js";
import { UnitObserver } from "./observe-unit.js";
import { exists } from "./partial.js";
import type { UnitStatistics } from "./unit-file.js";

export interface ObserveLayersOptions {
  readonly checkpoint: Checkpoint;
  readonly model: ModelDescription;
  readonly backend: Backend;
  readonly texts: readonly DomainText[];
  readonly manifest: ObservationManifest;
  /** Where files of an interrupted run may be. */
  readonly folder: string;
  /** Whether hidden states are kept in files there, because memory has no room for them. */
  readonly statesInFiles: boolean;
  /** The only unit that is observed; default: all. */
  readonly only?: Unit;
  readonly signal: AbortSignal | undefined;
}

type LayerEvent =
  | Extract<CompressEvent, { type: "progress" }>
  | { readonly type: "observed"; readonly layer: number; readonly seconds: number }
  | {
      readonly type: "unit";
      readonly layer: number;
      readonly unit: Unit;
      readonly statistics: UnitStatistics;
      readonly about: Readonly<Record<string, string>>;
    };

/** A unit's sequences and their hidden states. */
interface RunningUnit {
  readonly unit: Unit;
  readonly batches: readonly TokenBatch[];
  readonly hidden: HiddenStates;
}

/** Runs the original model, one layer's weights in memory at a time, and yields what each layer showed on each unit. */
export async function* observeLayers(options: ObserveLayersOptions): AsyncGenerator<LayerEvent, void> {
  const units: RunningUnit[] = [];
  try {
    yield* observeUnits(options, units);
  } finally {
    for (const { hidden } of units) hidden.close();
  }
}

/** @param units is filled with what runs through the layers */
async function* observeUnits(options: ObserveLayersOptions, units: RunningUnit[]): AsyncGenerator<LayerEvent, void> {
  const { checkpoint, model, texts, manifest, folder, statesInFiles, only, signal } = options;
  for (const unit of texts.flatMap(({ name, cuts }) => unitsOf(name, cuts))) {
    if (only !== undefined && !isDeepStrictEqual(unit, only)) continue;
    const { calibration } = texts.find(({ name }) => name === unit.domain)!;
    const batches = makeBatches(calibration, { batchSequences: 0 }, [unit.begin, unit.end]);
    const path = statesInFiles ? await statesFile(folder, unit) : undefined;
    const hidden = openStates(model, batches, path);
    units.push({ unit, batches, hidden });
    await embedBatches(checkpoint, model, batches, hidden);
  }
  const tokens = units.flatMap(({ batches }) => batches).reduce((sum, { ids }) => sum + ids.length, 0);
  const last = manifest.layers.at(-1)!;
  for (const description of model.layers.slice(0, last + 1)) {
    const began = performance.now();
    const missing = new Set<Unit>();
    for (const { unit } of isMoe(description) ? units : [])
      if (!(await exists(join(folder, unitPath(unit, description.index))))) missing.add(unit);
    const work = await LayerWork.load(options, description);
    let done = 0;
    try {
      for (const running of units) {
        const observer = missing.has(running.unit) ? work.observer() : undefined;
        for (const [index, batch] of running.batches.entries()) {
          signal?.throwIfAborted();
          running.hidden.set(index, work.run(running.hidden.get(index), batch, observer));
          done += batch.ids.length;
          yield work.progress(done, tokens);
          await nextTurn();
        }
        if (observer !== undefined) {
          const { unit } = running;
          const { digest } = manifest.domains[unit.domain]!;
          const about = {
            format: "ream-observation-unit",
            layer: String(description.index),
            domain: unit.domain,
            digest,
          };
          yield { type: "unit", layer: description.index, unit, statistics: await work.finish(observer), about };
        }
      }
    } finally {
      work.dispose();
    }
    if (missing.size > 0)
      yield { type: "observed", layer: description.index, seconds: (performance.now() - began) / 1000 };
  }
}

/** The file of a unit's hidden states. Other processes may be at work on other units, or on this one: it has a name of its own. */
async function statesFile(folder: string, { domain }: Unit): Promise<string> {
  await mkdir(join(folder, domain), { recursive: true });
  return join(folder, domain, `hidden-states-${randomUUID()}.partial`);
}

/** One layer, loaded. */
class LayerWork {
  private constructor(
    private readonly options: ObserveLayersOptions,
    private readonly layer: Layer,
    private readonly block: MoeBlock | undefined,
    private readonly tensors: MoeTensors | undefined,
  ) {}

  static async load(options: ObserveLayersOptions, description: LayerDescription): Promise<LayerWork> {
    const { checkpoint, model, backend } = options;
    const layer = await Layer.load(checkpoint, model, description.index, backend);
    try {
      if (!isMoe(description)) return new LayerWork(options, layer, undefined, undefined);
      const tensors = await readMoe(checkpoint, description.feedForward);
      return new LayerWork(options, layer, await MoeBlock.load(backend, description.feedForward, tensors), tensors);
    } catch (error) {
      layer.dispose();
      throw error;
    }
  }

  observer(): UnitObserver {
    const { statistics, calibration } = this.options.manifest;
    const seed = layerSeed(calibration.seed, this.layer.description.index);
    return new UnitObserver(this.options.backend, this.block!, statistics, calibration.samplesPerSequence, seed);
  }

  /** Hidden states after the layer. */
  run(hidden: Float32Array, batch: TokenBatch, observer: UnitObserver | undefined): Float32Array {
    const mixed = this.layer.mix(hidden, batch);
    const x = this.layer.feedForwardInput(mixed);
    const input = this.layer.moeInput(x);
    const routed = this.block?.run(input);
    if (routed !== undefined) observer?.add(input.experts, routed, batch);
    return this.layer.finish(mixed, x, this.layer.feedForward(x, routed?.output));
  }

  finish(observer: UnitObserver): Promise<UnitStatistics> {
    return observer.finish(this.tensors!);
  }

  progress(done: number, total: number): Extract<CompressEvent, { type: "progress" }> {
    const { index } = this.layer.description;
    const layers = this.options.model.layers.length;
    const share = (index + done / total) / layers;
    return {
      type: "progress",
      layer: index,
      layers,
      phase: "observe",
      tokens: { done, total },
      share,
      memory: process.memoryUsage.rss(),
    };
  }

  dispose(): void {
    this.layer.dispose();
    this.block?.dispose();
  }
}

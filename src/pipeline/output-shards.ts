import type { OutputFolder } from "../checkpoint/output.js";
import { tensorBytes } from "../checkpoint/safetensors-encode.js";
import type { LayerPlan, Plan } from "../compress/plan.js";
import type { CompressEvent } from "./events.js";
import { layersOf, type OutputTensor, outputTensors, shardFiles } from "./output-layout.js";
import type { OutputTarget } from "./output-target.js";
import type { PreparedModel } from "./prediction-layers.js";
import { RequantisedErrors, recordErrors, recordedErrors } from "./requantised-errors.js";
import { type ContentOptions, TensorContent } from "./tensor-content.js";

export interface ShardsOptions
  extends Omit<ContentOptions, "opened" | "plan" | "onRequantised">,
    Pick<OutputTarget, "dtype" | "shards"> {
  readonly opened: PreparedModel;
  /** Absent in a dry run: only the sizes are told. */
  readonly output: OutputFolder | undefined;
  /** Experts that each layer keeps. */
  readonly kept: number;
  readonly rounding: Plan["rounding"];
}

/**
 * The safetensors files of an output. Each can be written as soon as the layers are done whose plans its tensors follow: while
 * the next layers are computed, when the system's cache still has what was read of them. Plans are in the journal before, so
 * that a file that is there is that of the plans which an interrupted run goes on with.
 */
export class OutputShards {
  /** All tensors, in the source's order. */
  readonly tensors: readonly OutputTensor[];
  /** What is in each file. */
  readonly files: ReadonlyMap<string, readonly OutputTensor[]>;
  /** What rounding merged experts of a quantised source anew lost, in all files that are written. */
  readonly requantised: RequantisedErrors;
  private readonly plans = new Map<number, LayerPlan>();
  private readonly done = new Set<number>();
  /** Files that nobody has begun to write, by the layers that they wait for. */
  private readonly waiting: Map<string, ReadonlySet<number>>;
  private readonly stopping = new AbortController();
  private writing: Promise<void> = Promise.resolve();
  /** Bytes of the files that were told of. */
  private told = 0;
  private failure: { readonly error: unknown } | undefined;

  constructor(private readonly options: ShardsOptions) {
    const { opened, output, kept, dtype, shards, steps } = options;
    const { checkpoint, model, omitted } = opened;
    this.tensors = outputTensors(checkpoint, model, kept, dtype, { omitted, steps });
    this.files = shardFiles(this.tensors, model, shards);
    this.requantised = output === undefined ? new RequantisedErrors() : recordedErrors(output);
    this.waiting = new Map([...this.files].map(([file, tensors]) => [file, layersOf(tensors)]));
  }

  /** Bytes of all tensors. */
  get bytes(): number {
    return this.tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
  }

  /**
   * Says that a layer is done, with all that is kept of it, and begins to write what waited for it; does not wait for that.
   * Throws what failed since: nobody wants to compute for a disk that is full.
   *
   * @param plan of a MoE layer
   */
  layerDone(layer: number, plan: LayerPlan | undefined): void {
    if (this.failure !== undefined) throw this.failure.error;
    if (plan !== undefined) this.plans.set(layer, plan);
    this.done.add(layer);
    for (const [file, layers] of this.waiting) {
      if (![...layers].every((one) => this.done.has(one))) continue;
      this.waiting.delete(file);
      this.writing = this.writing
        .then(() => this.write(file))
        .catch((error: unknown) => {
          this.failure ??= { error };
        });
    }
  }

  /** Writes what is missing, all layers being done. */
  async *finish(layers: readonly LayerPlan[]): AsyncGenerator<CompressEvent, void> {
    await this.writing;
    if (this.failure !== undefined) throw this.failure.error;
    for (const plan of layers) this.plans.set(plan.layer, plan);
    for (const file of this.files.keys()) {
      this.options.signal?.throwIfAborted();
      await this.write(file);
      yield this.written(file);
    }
  }

  /** Tells that a file is written. */
  written(file: string): CompressEvent {
    this.told += this.files.get(file)!.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
    return { type: "shard", file, done: this.told, total: this.bytes };
  }

  /** Returns when nothing is read or written any more. What is half written is thrown away. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await this.writing;
  }

  private async write(file: string): Promise<void> {
    const { opened, output, rounding, signal: given } = this.options;
    if (this.failure !== undefined || this.stopping.signal.aborted) return;
    // A file that is there is whole: an earlier run wrote it from the same plans.
    if (output === undefined || (await output.has(file))) return;
    const made = new RequantisedErrors();
    const plan = { layers: [...this.plans.values()], rounding };
    const signal = AbortSignal.any([this.stopping.signal, ...(given === undefined ? [] : [given])]);
    const content = new TensorContent({ ...this.options, plan, signal, onRequantised: made.add.bind(made) });
    const record = async () => {
      const { entries } = made;
      await recordErrors(output, entries);
      this.requantised.addAll(entries);
    };
    const metadata = Object.fromEntries(opened.checkpoint.metadata);
    await output.writeShard(file, content.shard(this.files.get(file)!), metadata, record);
  }
}

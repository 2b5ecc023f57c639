import type { Checkpoint } from "../checkpoint/checkpoint.js";
import type { Backend } from "../engine/backend.js";
import { ReamError } from "../errors.js";
import type { ModelDescription } from "../model/description.js";
import { OutputHead } from "../model/forward.js";
import type { DecodeRequest, Engine, ScoreRequest, TokenStep } from "./contract.js";
import { DecodeJob } from "./decode-job.js";
import { availableMemory } from "./memory.js";
import { type MemoryPlan, planMemory, type Residence } from "./memory-plan.js";
import { ModelRunner, SLICE_TOKENS } from "./model-runner.js";
import { onAbort } from "./on-abort.js";
import { Scheduler, type SchedulerLimits } from "./scheduler.js";
import { ScoreJob } from "./score-job.js";
import { residentWeights, streamedWeights } from "./weights.js";

export interface EngineOptions extends Partial<SchedulerLimits> {
  /** Default: auto. */
  readonly resident?: Residence | undefined;
  /** Tokens that a layer works on at a time. */
  readonly sliceTokens?: number | undefined;
  /** Ends the loading of weights. */
  readonly signal?: AbortSignal | undefined;
  /** Is told, for people, where the weights do not stay in memory. */
  readonly note?: ((message: string) => void) | undefined;
}

const STREAMED =
  "The weights are read again for every pass, layer by layer, which is slow: many requests at a time help";
const gigabytes = (bytes: number) => (bytes / 1e9).toFixed(1);

/** Makes a model ready to run. The checkpoint stays the caller's; it must stay open until the engine is closed. */
export async function openEngine(
  { checkpoint, model }: { readonly checkpoint: Checkpoint; readonly model: ModelDescription },
  backend: Backend,
  { resident, signal, note, sliceTokens = SLICE_TOKENS, ...limits }: EngineOptions = {},
): Promise<LocalEngine> {
  const available = (await availableMemory()) + backend.keptBytes;
  const memory = planMemory(checkpoint, model, backend, available, resident ?? "auto");
  const plan = { ...memory, ...limits };
  if (!plan.resident) note?.(`${STREAMED} (weights ${gigabytes(plan.layerBytes)} GB).`);
  const source = { checkpoint, model, backend };
  const weights = plan.resident ? await residentWeights(source, signal) : streamedWeights(source);
  try {
    const head = await OutputHead.load(checkpoint, model, backend);
    const runner = new ModelRunner(checkpoint, model, backend, weights, head, sliceTokens);
    return new LocalEngine(model, runner, plan);
  } catch (error) {
    weights.dispose();
    throw error;
  }
}

/** The engine that computes on this machine. */
export class LocalEngine implements Engine {
  readonly vocabularySize: number;
  readonly maxPositions: number;
  private readonly scheduler: Scheduler;
  /** Prompts that further answers may still share, by their tokens. */
  private readonly prompts = new Map<string, DecodeJob>();
  private lastSequence = 0;
  private closed = false;

  constructor(
    model: ModelDescription,
    private readonly runner: ModelRunner,
    readonly plan: MemoryPlan,
  ) {
    this.vocabularySize = model.vocabularySize;
    this.maxPositions = model.maxPositions;
    this.scheduler = new Scheduler(runner, plan, model.hiddenSize);
  }

  /** Bytes of what the layers remember at the moment. */
  get stateBytes(): number {
    return this.runner.stateBytes;
  }

  async *decode(request: DecodeRequest): AsyncGenerator<TokenStep> {
    const { prompt, signal } = request;
    signal.throwIfAborted();
    this.check(prompt, 1);
    const maxTokens = Math.min(request.maxTokens, this.maxPositions - prompt.length);
    if (maxTokens < 1) return;
    this.checkCache(prompt.length + maxTokens, 2);
    const stream = this.answer(request, maxTokens);
    const ignore = onAbort(signal, () => stream.fail(signal.reason));
    try {
      yield* stream.read();
    } finally {
      ignore();
      stream.end();
    }
  }

  async score(request: ScoreRequest, signal: AbortSignal): Promise<readonly (readonly TokenStep[])[]> {
    const { context, continuations } = request;
    signal.throwIfAborted();
    this.check(context, 0);
    let tokens = context.length;
    for (const ids of continuations) {
      // The last token is not computed.
      this.check([...context, ...ids], ids.length === 0 ? 0 : -1);
      tokens += ids.length;
    }
    this.checkCache(tokens, 1 + continuations.length);
    const job = new ScoreJob(request, this.newSequence);
    const ignore = onAbort(signal, () => job.fail(signal.reason));
    try {
      this.scheduler.add(job);
      return await job.steps;
    } finally {
      ignore();
    }
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.scheduler.stop(closedError());
    this.runner.dispose();
  }

  private readonly newSequence = (): number => {
    this.lastSequence = (this.lastSequence + 1) % 2 ** 32;
    return this.lastSequence;
  };

  /** Answers to a prompt that is not computed yet share it. */
  private answer(request: DecodeRequest, maxTokens: number) {
    const key = request.prompt.join(",");
    const sharing = this.prompts.get(key);
    if (sharing?.open && this.fits(sharing, maxTokens)) return sharing.add(request, maxTokens);
    const job = new DecodeJob(request.prompt, this.newSequence);
    for (const [other, { open }] of this.prompts) if (!open) this.prompts.delete(other);
    this.prompts.set(key, job);
    const stream = job.add(request, maxTokens);
    this.scheduler.add(job);
    return stream;
  }

  /** `more`: how many tokens have to fit besides. */
  private check(ids: readonly number[], more: number): void {
    if (this.closed) throw closedError();
    if (ids.length === 0) {
      throw new ReamError("PROMPT_EMPTY", "a prompt has no tokens", { hint: "Give at least one token id." });
    }
    if (ids.length + more > this.maxPositions) {
      const message = `${ids.length} tokens are too many for a model of ${this.maxPositions} positions`;
      throw new ReamError("PROMPT_TOO_LONG", message, { hint: "Give a shorter text." });
    }
    const outside = ids.find((id) => !(Number.isInteger(id) && id >= 0 && id < this.vocabularySize));
    if (outside === undefined) return;
    const message = `token id ${outside} is outside the model's vocabulary of ${this.vocabularySize}`;
    throw new ReamError("TOKEN_RANGE", message, { hint: "The tokens come from another model's tokenizer." });
  }

  /** Whether one answer more fits beside those that share a prompt. */
  private fits(job: DecodeJob, maxTokens: number): boolean {
    const { cacheTokens, sequenceTokens } = this.plan;
    return job.mostTokens + maxTokens + (job.strands.length + 1) * sequenceTokens <= cacheTokens;
  }

  private checkCache(tokens: number, sequences: number): void {
    const { cacheTokens, sequenceTokens } = this.plan;
    if (tokens + sequences * sequenceTokens <= cacheTokens) return;
    const message = `a request of ${tokens} tokens does not fit the memory for caches, which holds ${cacheTokens}`;
    throw new ReamError("CACHE_TOO_SMALL", message, {
      hint: "Allow fewer tokens for an answer, stream the weights (--resident no), or use a machine with more memory.",
    });
  }
}

function closedError(): ReamError {
  return new ReamError("ENGINE_CLOSED", "the model was closed before the request was done");
}

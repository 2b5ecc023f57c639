import { chooseKept, type KeptChoice } from "../compress/choose/choose-kept.js";
import { MeasuredBlock, type MeasuredTokens, measurableTokens } from "../compress/choose/measured-block.js";
import type { LayerObservation, LayerObserver } from "../compress/observer.js";
import { protectedExperts } from "../compress/plan-layer.js";
import { importanceOf } from "../compress/reconstruct/importance.js";
import { splitTokens } from "../compress/reconstruct/split.js";
import { ReamError } from "../errors.js";
import type { MoeInput } from "../model/layer.js";
import type { MoeBlock } from "../model/moe.js";
import type { RouterOutput } from "../model/router.js";
import type { LayerLoopOptions } from "./layer-loop.js";

/** What chooses a layer's experts by the outputs of tokens; undefined where the settings need none. */
export function layerChooser(options: LayerLoopOptions, block: MoeBlock): LayerChooser | undefined {
  return options.settings.criterion === "saliency" ? undefined : new LayerChooser(options, block);
}

/** Keeps some tokens of a layer while it is observed, and chooses by them which experts stay. */
export class LayerChooser {
  private readonly search: TokenSample;
  private readonly heldOut: TokenSample;
  private readonly rowOf: readonly Int32Array[];

  constructor(
    private readonly options: LayerLoopOptions,
    private readonly block: MoeBlock,
  ) {
    const { rows, fitted, rowOf } = splitTokens(options.batches, Number.POSITIVE_INFINITY, options.seed);
    if (fitted === rows) {
      throw new ReamError("CRITERION_TOKENS", "one sequence of calibration text is too few to compare experts on", {
        where: "--criterion",
        hint: "Give more text: some sequences are held out, to tell what is lost.",
      });
    }
    this.rowOf = rowOf;
    this.search = new TokenSample(block, 0, fitted);
    this.heldOut = new TokenSample(block, fitted, rows);
  }

  /** Takes its tokens of a batch. @param mixed hidden states after the mixer `[tokens, size]` */
  observe(batch: number, mixed: Float32Array, input: MoeInput, { logits }: RouterOutput): void {
    const rows = this.rowOf[batch]!;
    const size = mixed.length / rows.length;
    for (const [token, row] of rows.entries()) {
      const sample = row < this.heldOut.begin ? this.search : this.heldOut;
      const place = row < 0 ? undefined : sample.placeOf(row);
      if (place === undefined) continue;
      const importance = importanceOf(mixed.subarray(token * size, (token + 1) * size));
      sample.put(place, token, input.experts, logits, importance);
    }
  }

  /** Chooses, after all batches. @param pause may throw to stop */
  async choose(observer: LayerObserver, observed: LayerObservation, pause: () => Promise<void>): Promise<KeptChoice> {
    const { backend, settings, kept } = this.options;
    const routerGroups = this.block.description.router.groups?.count ?? 1;
    const fixed = protectedExperts(observed, { kept, routerGroups, settings });
    const measured = (sample: TokenSample) => MeasuredBlock.of(backend, this.block, sample.tokens, pause);
    const sides = { search: await measured(this.search), heldOut: await measured(this.heldOut) };
    return chooseKept(sides, {
      ...{ backend, criterion: settings.criterion, kept, routerGroups, pause, fixed: new Set(fixed) },
      ...{ experts: this.block.experts.count, saliencies: observer.saliencies() },
    });
  }
}

/** Tokens at even distances among rows `[begin, end)` of a split. */
class TokenSample {
  readonly tokens: MeasuredTokens;
  private readonly count: number;

  constructor(
    private readonly block: MoeBlock,
    readonly begin: number,
    private readonly end: number,
  ) {
    this.count = Math.min(end - begin, measurableTokens(block));
    const { hidden, count } = block.experts;
    this.tokens = {
      inputs: new Float32Array(this.count * hidden),
      logits: new Float32Array(this.count * count),
      importance: new Float32Array(this.count),
    };
  }

  /** Where a row is among the tokens; undefined where it is not. */
  placeOf(row: number): number | undefined {
    const at = (value: number) => Math.ceil(((value - this.begin) * this.count) / (this.end - this.begin));
    const place = at(row);
    return place < at(row + 1) ? place : undefined;
  }

  put(place: number, token: number, inputs: Float32Array, logits: Float32Array, importance: number): void {
    const { hidden, count } = this.block.experts;
    this.tokens.inputs.set(inputs.subarray(token * hidden, (token + 1) * hidden), place * hidden);
    this.tokens.logits.set(logits.subarray(token * count, (token + 1) * count), place * count);
    this.tokens.importance[place] = importance;
  }
}

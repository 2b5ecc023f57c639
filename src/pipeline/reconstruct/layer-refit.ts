import type { DType } from "../../checkpoint/tensor.js";
import { groupOf, isMerged, type LayerPlan } from "../../compress/plan.js";
import { refit } from "../../compress/reconstruct/refit.js";
import { Residuals } from "../../compress/reconstruct/residuals.js";
import { subtractAll } from "../../compress/reconstruct/sweep.js";
import type { Backend, ExpertTensors } from "../../engine/backend.js";
import type { MoeDescription } from "../../model/description.js";
import type { HiddenStates } from "../../model/hidden-states.js";
import type { MoeInput } from "../../model/layer.js";
import type { RouterWeights } from "../../model/router.js";
import { DownExperts } from "./down-experts.js";
import { descendLayer, type LayerDescent } from "./layer-descent.js";
import type { LayerTargets } from "./layer-targets.js";
import { type MakeUpOptions, makeUp } from "./make-up.js";
import type { RefitWork } from "./open-refit.js";
import type { RefitExperts, RefitExpertsOptions } from "./refit-experts.js";
import type { LayerRefit, RefitRound } from "./refit-files.js";
import { pathOf, roundsOf } from "./refit-plan.js";
import { type StoredForm, storeRefit, withDown } from "./stored-refit.js";
import { UpExperts } from "./up-experts.js";

/** The layer as it is reduced. */
export interface ReducedLayer {
  readonly router: RouterWeights;
  readonly experts: readonly ExpertTensors[];
  /** Dtype of refitted weights; undefined: that of the expert's. */
  readonly dtype: DType | undefined;
  /** How they are stored where that is no dtype. */
  readonly form: StoredForm | undefined;
  /** The experts with gates and up projections as the steps of `--then` will leave them, where these change them. */
  readonly stepped: ((experts: readonly ExpertTensors[]) => Promise<ExpertTensors[]>) | undefined;
  readonly moeInput: (hidden: Float32Array) => MoeInput;
}

/**
 * Refits the experts of one layer, so that the reduced block makes of the layer's inputs what the original block makes of
 * them. Shared experts are in both and cancel.
 */
export class LayerRefitter {
  constructor(
    private readonly backend: Backend,
    private readonly work: RefitWork,
    private readonly layer: number,
    private readonly moe: MoeDescription,
  ) {}

  /**
   * Refits the reduced layer and keeps what came of it.
   *
   * @param targets of all tokens; used up
   * @param hidden hidden states after the mixer, of each batch
   */
  async run(
    plan: LayerPlan,
    targets: LayerTargets,
    hidden: HiddenStates,
    { router, experts, dtype, form, stepped, moeInput }: ReducedLayer,
    pause: (share: number) => Promise<void>,
  ): Promise<LayerRefit> {
    const { backend, moe, layer } = this;
    const free = this.freeSlots(plan);
    if (free.size === 0) {
      const unchanged = { layer, kept: false };
      await this.work.files.write(unchanged, []);
      return unchanged;
    }
    const { split } = targets;
    const routed = targets.routed(router, experts.length, hidden, moeInput);
    const residuals = new Residuals(targets.outputs, targets.size, split.fitted, split.heldOut);
    const inputs = targets.rowsFrom(hidden, (states) => moeInput(states).experts);
    const options = { backend, moe, experts, free, dtype, routed, targets, inputs };
    const goesOn = form !== undefined || stepped !== undefined;
    const found = await this.find(residuals, options, goesOn, pause);
    const last = { ...pathOf(this.work.plan, 0), pause: () => pause(1) };
    const tokens = { fitted: split.fitted, heldOut: split.rows - split.fitted };
    const reportOf = ({ after, rounds }: Pick<LayerDescent, "after" | "rounds">) => ({
      ...{ layer, kept: rounds.length > 0 },
      fit: { tokens, before: found.before, after, rounds },
    });
    const { files } = this.work;
    if (form !== undefined) {
      const stored = await storeRefit(residuals, options, found, form, last);
      await files.writeStored(reportOf(stored), stored.experts);
      return reportOf(stored);
    }
    const refitted = { ...options, experts: found.experts };
    const made = stepped === undefined ? found : await this.beforeSteps(residuals, refitted, stepped, found, last);
    await files.write(reportOf(made), made.experts);
    return reportOf(made);
  }

  /** The refitted experts. @param goesOn whether the residuals are left as those of them */
  private find(
    residuals: Residuals,
    options: RefitExpertsOptions,
    goesOn: boolean,
    pause: (share: number) => Promise<void>,
  ): Promise<LayerDescent> {
    const { parts, epochs, seed } = this.work.plan;
    if (parts !== "all") return this.rounds(residuals, options, goesOn, pause);
    return descendLayer(residuals, options, { epochs, seed, fitted: options.targets.split.fitted, pause });
  }

  /** Down projections that make up for what the steps of `--then` will do to gates and up projections. */
  private async beforeSteps(
    residuals: Residuals,
    refitted: RefitExpertsOptions,
    stepped: NonNullable<ReducedLayer["stepped"]>,
    { after, rounds, experts }: Omit<LayerDescent, "before">,
    fit: MakeUpOptions,
  ): Promise<Omit<LayerDescent, "before">> {
    const changed = { ...refitted, experts: await stepped(experts) };
    const made = await makeUp(residuals, refitted, changed, { ...fit, goesOn: false });
    if (!made.kept) return { after, rounds, experts };
    const round = { part: "then", experts: refitted.free.size, heldOut: made.start.heldOut } as const;
    return { after: made.after, rounds: [...rounds, round, ...made.rounds], experts: withDown(experts, made.linear) };
  }

  /** Experts that are refitted, by their slots: none where the layer is as it was. */
  private freeSlots(plan: LayerPlan): ReadonlySet<number> {
    const { keptExperts } = plan;
    const merged = keptExperts.flatMap((kept, slot) => (isMerged(groupOf(plan, kept)) ? [slot] : []));
    const isReduced = keptExperts.length < this.moe.experts.count || merged.length > 0;
    return new Set(isReduced && this.work.plan.experts === "all" ? keptExperts.keys() : merged);
  }

  /**
   * Refits one matrix after the other; the second time for what the others have become.
   *
   * @param goesOn whether the residuals are left as those of the experts that come of it
   */
  private async rounds(
    residuals: Residuals,
    options: RefitExpertsOptions,
    goesOn: boolean,
    pause: (share: number) => Promise<void>,
  ) {
    const { backend, work } = this;
    const parts = roundsOf(work.plan);
    let experts = [...options.experts];
    const shares = (round: number) => (done: number) => pause((round + 1 - 1 / (1 + done / 4)) / parts.length);
    let linear: RefitExperts = new DownExperts(options);
    await subtractAll(backend, linear, residuals, () => pause(0));
    const before = residuals.errors();
    let after = before;
    const rounds: RefitRound[] = [];
    for (const [round, part] of parts.entries()) {
      // Nothing has changed since these were tried.
      if (parts.indexOf(part) < round && (rounds.at(-1)?.part ?? part) === part) continue;
      if (round > 0) linear = new (part === "down" ? DownExperts : UpExperts)({ ...options, experts });
      const fit = await refit(backend, linear, residuals, {
        ...{ ...pathOf(work.plan, round), most: before, goesOn: goesOn || round + 1 < parts.length },
        pause: shares(round),
      });
      if (!fit.kept) continue;
      after = fit.after;
      experts = experts.map((expert, slot) => ({ ...expert, ...linear.matrices.parts(slot) }));
      rounds.push({ part, ridge: fit.ridge, sweeps: fit.sweeps, heldOut: fit.after.heldOut });
    }
    return { before, after, rounds, experts };
  }
}

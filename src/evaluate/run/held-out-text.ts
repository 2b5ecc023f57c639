import { loadCalibration } from "../../calibration/load-calibration.js";
import { calibrationOptions } from "../../calibration/options.js";
import { Checkpoint } from "../../checkpoint/checkpoint.js";
import { ReamError } from "../../errors.js";
import type { TokenBatch } from "../../model/layer.js";
import { makeBatches } from "../../pipeline/batches.js";
import { type HeldOutMeasure, type LastHidden, lastHidden, measureHeldOut } from "../held-out.js";
import type { OpenSubject } from "./open-subject.js";
import type { RunContext } from "./run-context.js";

interface Domain {
  readonly name: string;
  readonly batches: readonly TokenBatch[];
  /** Last hidden states of the first model, which the others are compared with. */
  reference?: LastHidden;
}

/** Text that models predict, by domain. The first model's tokenizer makes the tokens that all of them see. */
export class HeldOutText {
  private domains: Domain[] | undefined;
  /** The first model's checkpoint, opened anew: it is read as long as there are others to compare with it. */
  private reference: Checkpoint | undefined;

  constructor(private readonly context: RunContext) {}

  /** Reads the text, if that is not done and there is any. Errors: OPTION_INVALID, and those of calibration text. */
  async prepare({ local }: Pick<OpenSubject, "local">): Promise<void> {
    if (this.context.options.heldOut.length === 0 || local === undefined) return;
    this.domains ??= await this.load(local);
  }

  /** Measures a model on this machine; {} where no text is given. Errors: VOCABULARY_DIFFERS. */
  async measure({ local, model }: OpenSubject): Promise<Record<string, HeldOutMeasure>> {
    const { options, signal, emit } = this.context;
    if (options.heldOut.length === 0) return {};
    if (local === undefined) {
      emit({ type: "note", message: `${model.name}: perplexity and KL need a model on this machine` });
      return {};
    }
    await this.prepare({ local });
    const domains = this.domains!;
    const isReference = domains.every(({ reference }) => reference === undefined);
    const checkpoint = isReference ? this.reference! : local.opened.checkpoint;
    const measures: Record<string, HeldOutMeasure> = {};
    for (const [index, domain] of domains.entries()) {
      signal.throwIfAborted();
      emit({ type: "evaluate", model: model.name, phase: "held-out", done: index, total: domains.length });
      const hidden = await lastHidden({ checkpoint, model: local.opened.model }, local.backend, domain.batches, signal);
      domain.reference ??= hidden;
      measures[domain.name] = await measureHeldOut(domain.reference, hidden, local.backend, domain.batches);
    }
    return measures;
  }

  async close(): Promise<void> {
    await this.reference?.close();
  }

  private async load({ opened }: NonNullable<OpenSubject["local"]>): Promise<Domain[]> {
    const { heldOut, heldOutSequences, heldOutLength } = this.context.options;
    const domains: Domain[] = [];
    for (const [name, source] of heldOut.map(parseHeldOut)) {
      const options = calibrationOptions.parse({
        mix: name,
        domain: [`${name}=${source}`],
        sequences: heldOutSequences,
        length: heldOutLength,
      });
      const { folder, model } = opened;
      const tokens = await loadCalibration(options, { model: folder, vocabularySize: model.vocabularySize });
      domains.push({ name, batches: makeBatches(tokens, { batchSequences: 0 }) });
    }
    this.reference = await Checkpoint.open(opened.folder);
    return domains;
  }
}

/** The parts of DOMAIN=SOURCE. Errors: OPTION_INVALID. */
export function parseHeldOut(text: string): [domain: string, source: string] {
  const [, domain, source] = /^([\w.-]+)=(.[\s\S]*)$/.exec(text) ?? [];
  if (domain !== undefined && source !== undefined) return [domain, source];
  throw new ReamError("OPTION_INVALID", `${JSON.stringify(text)} is not DOMAIN=SOURCE`, { where: "--held-out" });
}

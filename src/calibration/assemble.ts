import { ReamError } from "../errors.js";
import { type Calibration, calibrationDigest } from "./calibration.js";
import type { DomainSequences } from "./domain.js";
import { apportion, countsWithin, interleave } from "./mix.js";
import type { CalibrationOptions } from "./options.js";
import type { DomainPlan } from "./plan-domains.js";
import type { TextSource } from "./source.js";

/** Puts the sequences of all domains into one set, in the order of `interleave`. Errors: CALIBRATION_EMPTY. */
export function assemble(
  plans: readonly DomainPlan[],
  sources: readonly TextSource[],
  found: readonly DomainSequences[],
  options: CalibrationOptions,
): Calibration {
  const { length } = options;
  const ratios = plans.map(({ ratio }) => ratio);
  const wanted = apportion(ratios, options.sequences);
  const available = found.map(({ sequences }) => sequences.length);
  const counts = countsWithin(ratios, available, options.sequences);
  const domainOfSequence = interleave(counts);
  const sequences = domainOfSequence.length;
  const notes = found.flatMap((domain) => domain.notes);
  for (const [index, { name }] of plans.entries()) {
    if (available[index]! >= wanted[index]!) continue;
    const [has, asked] = [available[index]!.toLocaleString("en"), wanted[index]!.toLocaleString("en")];
    notes.push(`${name} holds ${has} sequences; ${asked} were asked for.`);
  }
  if (sequences === 0) {
    throw new ReamError("CALIBRATION_EMPTY", `The text fills no sequences of ${length} tokens in the mix asked for.`, {
      where: plans.map(({ name, source }, index) => `${name}=${source} (${available[index]} sequences)`).join(", "),
      hint: "Give more text, shorter sequences (--length), or --packing padded --min-fill 0.",
    });
  }
  if (sequences < options.sequences) {
    const [has, asked] = [sequences.toLocaleString("en"), options.sequences.toLocaleString("en")];
    notes.push(`All domains shrink alike, so that the mix holds: ${has} sequences in place of ${asked}.`);
  }
  const ids = new Int32Array(sequences * length);
  const mask = new Uint8Array(sequences * length);
  const taken = plans.map(() => 0);
  const tokens = plans.map(() => 0);
  for (const [position, domain] of domainOfSequence.entries()) {
    const sequence = found[domain]!.sequences[taken[domain]!++]!;
    ids.set(sequence.ids, position * length);
    mask.fill(1, position * length, position * length + sequence.tokens);
    tokens[domain]! += sequence.tokens;
  }
  const domains = plans.map(({ name, ratio }, index) => {
    return { name, ratio, sequences: counts[index]!, tokens: tokens[index]!, source: sources[index]!.label };
  });
  const digest = calibrationDigest(sequences, length, ids, mask);
  return { sequences, length, ids, mask, domains, domainOfSequence, digest, notes };
}

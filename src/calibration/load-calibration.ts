import { ReamError } from "../errors.js";
import { type HubOptions, hubOptionsFromEnvironment } from "../hub/settings.js";
import { type Calibration, calibrationDigest } from "./calibration.js";
import { type ChatTemplate, loadChatTemplate } from "./chat-template.js";
import { type DomainSequences, domainSequences } from "./domain.js";
import { apportion, countsWithin, interleave, type MixShare, parseMix } from "./mix.js";
import { DEFAULT_SOURCES } from "./named-sources.js";
import type { CalibrationOptions } from "./options.js";
import { openSource, type TextSource } from "./source.js";
import { loadTokenizer, type TextTokenizer } from "./tokenizer.js";
import { loadTokens } from "./tokens-file.js";

/** Progress of the preparation of calibration text: `sequences` of `wanted` are ready in a domain. */
export interface CalibrationEvent {
  readonly type: "calibration";
  readonly domain: string;
  readonly sequences: number;
  readonly wanted: number;
}

export interface CalibrationContext {
  /** The model's folder; its tokenizer is used unless the options name another. */
  readonly model: string;
  /** Rows of the model's embedding, beyond which no id may lie. */
  readonly vocabularySize?: number | undefined;
  readonly hub?: HubOptions | undefined;
  readonly onEvent?: ((event: CalibrationEvent) => void) | undefined;
}

/** Parses repeated `NAME=VALUE` options. Errors: CALIBRATION_OPTIONS. */
function parseAssignments(option: string, values: readonly string[]): Map<string, string> {
  const result = new Map<string, string>();
  for (const text of values) {
    const [, name, value] = /^([A-Za-z0-9][A-Za-z0-9_.-]*)=(.+)$/s.exec(text) ?? [];
    if (name === undefined || value === undefined || result.has(name)) {
      const found = name !== undefined && result.has(name) ? `gives ${name} a second time` : "is not NAME=VALUE";
      throw new ReamError("CALIBRATION_OPTIONS", `--${option} ${text} ${found}.`, {
        where: option,
        hint: `Write --${option} general=${option === "domain" ? "texts.jsonl" : "text"}, once a domain.`,
      });
    }
    result.set(name, value);
  }
  return result;
}

interface DomainPlan extends MixShare {
  readonly source: string;
  readonly field: string | undefined;
}

/** The domains of a run: shares, sources and fields belong together by name. */
function planDomains(options: CalibrationOptions): DomainPlan[] {
  const sources = parseAssignments("domain", options.domain);
  const fields = parseAssignments("field", options.field);
  const names = sources.size > 0 ? [...sources.keys()] : Object.keys(DEFAULT_SOURCES);
  const mix = parseMix(options.mix ?? names.join(","));
  // Names with share 0 are known as well, though they give nothing.
  const known = new Set((options.mix ?? names.join(",")).split(",").map((part) => part.split("=")[0]!.trim()));
  for (const [option, values] of [["domain", sources] as const, ["field", fields] as const]) {
    for (const name of values.keys()) {
      if (known.has(name)) continue;
      throw new ReamError("CALIBRATION_OPTIONS", `--${option} names ${name}, which is not in the mix.`, {
        where: option,
        hint: `The mix has: ${[...known].join(", ")}.`,
      });
    }
  }
  return mix.map(({ name, ratio }) => {
    const source = sources.get(name) ?? (Object.hasOwn(DEFAULT_SOURCES, name) ? DEFAULT_SOURCES[name] : undefined);
    if (source !== undefined) return { name, ratio, source, field: fields.get(name) };
    throw new ReamError("CALIBRATION_OPTIONS", `Domain ${name} has no source.`, {
      where: "domain",
      hint: `Give one: --domain ${name}=PATH.`,
    });
  });
}

/** Puts the sequences of all domains into one set, in the order of `interleave`. */
function assemble(
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

/**
 * Prepares the tokens on which a model is observed: opens the sources of all domains, chooses documents by seed,
 * tokenises and packs them, and mixes the domains. The same options, files and tokenizer give the same digest.
 * Errors: CALIBRATION_..., TOKENIZER_..., HUB_....
 */
export async function loadCalibration(options: CalibrationOptions, context: CalibrationContext): Promise<Calibration> {
  if (options.tokens !== undefined) return loadTokens(options.tokens, context.vocabularySize);
  const plans = planDomains(options);
  const folder = options.tokenizer ?? context.model;
  const tokenizer: TextTokenizer = await loadTokenizer(folder, context.vocabularySize);
  const template: ChatTemplate | undefined = await loadChatTemplate(folder, tokenizer);
  const hub = context.hub ?? hubOptionsFromEnvironment(process.env);
  const wanted = apportion(
    plans.map(({ ratio }) => ratio),
    options.sequences,
  );
  const sources: TextSource[] = [];
  const found: DomainSequences[] = [];
  try {
    // All sources are opened before any is read: a wrong name shows at once.
    for (const { source } of plans) sources.push(await openSource(source, hub));
    for (const [index, { name, field }] of plans.entries()) {
      const onProgress = (sequences: number) =>
        context.onEvent?.({ type: "calibration", domain: name, sequences, wanted: wanted[index]! });
      found.push(
        await domainSequences({
          name,
          source: sources[index]!,
          field,
          wanted: wanted[index]!,
          tokenizer,
          template,
          options,
          onProgress,
        }),
      );
    }
  } finally {
    template?.close();
  }
  return assemble(plans, sources, found, options);
}

import { type HubOptions, hubOptionsFromEnvironment } from "../hub/settings.js";
import { assemble } from "./assemble.js";
import type { Calibration } from "./calibration.js";
import { loadChatTemplate } from "./chat-template.js";
import { type DomainSequences, domainSequences } from "./domain.js";
import { apportion } from "./mix.js";
import type { CalibrationOptions } from "./options.js";
import { planDomains } from "./plan-domains.js";
import { openSource, type TextSource } from "./source.js";
import { loadTokenizer } from "./tokenizer.js";
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

/**
 * Prepares the tokens on which a model is observed: opens the sources of all domains, chooses documents by seed,
 * tokenises and packs them, and mixes the domains. The same options, files and tokenizer give the same digest.
 * Errors: CALIBRATION_..., TOKENIZER_..., HUB_....
 */
export async function loadCalibration(options: CalibrationOptions, context: CalibrationContext): Promise<Calibration> {
  if (options.tokens !== undefined) return loadTokens(options.tokens, context.vocabularySize);
  const plans = planDomains(options);
  const folder = options.tokenizer ?? context.model;
  const tokenizer = await loadTokenizer(folder, context.vocabularySize);
  const template = await loadChatTemplate(folder, tokenizer);
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
          signal: hub.signal,
          onProgress,
        }),
      );
    }
  } finally {
    template?.close();
  }
  return assemble(plans, sources, found, options);
}

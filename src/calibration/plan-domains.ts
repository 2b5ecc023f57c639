import { ReamError } from "../errors.js";
import { type MixShare, parseMix } from "./mix.js";
import { DEFAULT_SOURCES } from "./named-sources.js";
import type { CalibrationOptions } from "./options.js";

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

/** A domain of a run: its share, where its text comes from, and the field that holds it if the user named one. */
export interface DomainPlan extends MixShare {
  readonly source: string;
  readonly field: string | undefined;
}

/** The domains of a run: shares, sources and fields belong together by name. Errors: CALIBRATION_OPTIONS, CALIBRATION_MIX. */
export function planDomains(options: CalibrationOptions): DomainPlan[] {
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

/**
 * Compares every golden with both backends and prints docs/goldens.md: `npm run build && node dist/bench/goldens.js`.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { Backend } from "../src/engine/backend.js";
import { createNativeBackend } from "../src/engine/native/native-backend.js";
import { createReferenceBackend } from "../src/engine/reference/reference-backend.js";
import { forwardDeviation } from "../test/support/forward-golden.js";
import { GOLDENS, readJson } from "../test/support/goldens.js";
import { VARIANTS, variantDeviation } from "../test/support/ream-golden.js";

const f32: Backend[] = [createReferenceBackend("f32"), createNativeBackend({ precision: "f32" })];
/** Both are tested to agree; one is enough to show what the precision costs. */
const bf16: Backend[] = [createNativeBackend({ precision: "bf16" })];

const row = (...cells: (string | number)[]) =>
  `| ${cells.map((cell) => (typeof cell === "number" ? short(cell) : cell)).join(" | ")} |`;
const short = (value: number) => (value === 0 ? "0" : value.toExponential(1));

/** The options of `ream compress` that ask for a variant. */
function flags(variant: string): string {
  const { method, ...changes } = VARIANTS[variant]!;
  const { settings } = readJson<{ settings: { merge_size: number; group_size: number } }>(
    join(folder, variant, "trace.json"),
  );
  const size = settings.group_size > 0 && method !== "hc-smoe" ? [`--group-size ${settings.group_size}`] : [];
  const options = Object.entries(changes).map(([key, value]) => {
    const name = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    return typeof value === "boolean" ? `--${value ? "" : "no-"}${name}` : `--${name} ${value}`;
  });
  const recorded = variant.includes("random-") ? ["--sampled-tokens trace.safetensors"] : [];
  return ["`--method", method, `--experts ${settings.merge_size}`, ...size, ...options, ...recorded]
    .join(" ")
    .concat("`");
}

const folder = join(GOLDENS, "ream/qwen3_moe");
const lines = [
  "# Distance from the reference data",
  "",
  "Made by `npm run build && node dist/bench/goldens.js > docs/goldens.md`. The reference data and its tolerances are",
  "described in `test/goldens/README.md`; the tests require them of both backends.",
  "",
  `Native backend: ${f32[1]!.description}.`,
  "",
  "## Forward pass",
  "",
  "Largest absolute deviation from transformers (eager attention, float32) over all tokens, rms is the root mean square;",
  "`other experts` counts choices that differ. The rows in bfloat16 show what that precision costs (logits have a standard",
  "deviation of 2): a router near a tie chooses another expert, which moves a few tokens far and most hardly at all.",
  "",
  row(
    "case",
    "backend",
    "precision",
    "logits",
    "logits (rms)",
    "hidden",
    "MoE output",
    "router logits",
    "weights",
    "other experts",
  ),
  row(...Array.from({ length: 10 }, () => "---")),
];
for (const backends of [f32, bf16]) {
  for (const name of readdirSync(join(GOLDENS, "forward")).sort()) {
    for (const backend of backends) {
      const d = await forwardDeviation(join(GOLDENS, "forward", name), backend);
      lines.push(
        row(
          name,
          backend.name,
          backend.precision,
          d.logits,
          d.logitsRootMeanSquare,
          d.hidden,
          d.output,
          d.routerLogits,
          d.weights,
          String(d.selected),
        ),
      );
    }
  }
}
lines.push(
  "",
  "## Methods",
  "",
  "Largest deviation over all layers, float32. Saliency and similarities are relative, costs, averaging weights and merged",
  "matrices absolute. `exact` says that kept experts, groups and all permutations are equal (neurons compared).",
  "",
  row("variant", "backend", "saliency", "similarity", "costs", "weights", "merged", "exact"),
  row(...Array.from({ length: 8 }, () => "---")),
);
for (const variant of Object.keys(VARIANTS)) {
  for (const backend of f32) {
    const d = await variantDeviation(folder, variant, backend);
    const exact = d.mismatches.length === 0 ? `yes (${d.neurons})` : `no: ${d.mismatches.join("; ")}`;
    lines.push(row(variant, backend.name, d.saliency, d.similarity, d.costs, d.weights, d.merged, exact));
  }
}
lines.push(
  "",
  "`bfloat16-small` was computed in bfloat16 by its source, which rounds after every operation. Computed here in float32, its",
  "decisions are the same except for the order of two nearly equal saliencies (not compared); its numbers differ by that",
  "rounding. Computed here in bfloat16, with products rounded but sums and hidden states in float32, a few neurons of one",
  "expert are placed otherwise.",
);
lines.push(
  "",
  "## How to ask for a variant",
  "",
  "Each with `--tokens calibration.safetensors --precision f32`; `--trace DIR` writes every number, `--output-dtype f32` stores",
  "merged weights unrounded. The pruning scores under `reap/` are `--method reap --no-sequential` with `--gate scores` (raw)",
  "or `--gate combined` (renormalised).",
  "",
  row("variant", "options"),
  row("---", "---"),
  ...Object.keys(VARIANTS).map((variant) => row(variant, flags(variant))),
);
process.stdout.write(`${lines.join("\n")}\n`);

/** A part of a compression that another process can make. */
export type Part =
  /** A layer's plan. */
  | { readonly kind: "layer"; readonly layer: number }
  /** A file of the output. */
  | { readonly kind: "shard"; readonly file: string }
  /** Size and digest of a file of the source, for the manifest. */
  | { readonly kind: "source"; readonly file: string };

const LABELS = { shard: "file", source: "digest of" } as const;

/** What people call a part; no two have the same label. */
export function partLabel(part: Part): string {
  return part.kind === "layer" ? `layer ${part.layer}` : `${LABELS[part.kind]} ${part.file}`;
}

import { PAPER_MIXES } from "../calibration/paper-mixes.js";

/** How a study names its mixes. */
export type MixList = "paper" | { readonly simplex: number } | readonly (string | Readonly<Record<string, number>>)[];

/** The mixes of a list, each as `general=0.3,code=0.7`. Equal ones are kept once. */
export function listMixes(list: MixList, domains: readonly string[]): string[] {
  if (list === "paper") return PAPER_MIXES;
  const mixes = "simplex" in list ? simplex(domains, list.simplex) : list.map(textOf);
  return [...new Set(mixes)];
}

function textOf(mix: string | Readonly<Record<string, number>>): string {
  if (typeof mix === "string") return mix;
  return Object.entries(mix)
    .map(([domain, share]) => `${domain}=${share}`)
    .join(",");
}

/** Every mix whose shares are multiples of 1 / steps. */
function simplex(domains: readonly string[], steps: number): string[] {
  const shares = (left: number, count: number): number[][] => {
    if (count === 1) return [[left]];
    return Array.from({ length: left + 1 }, (_, own) =>
      shares(left - own, count - 1).map((rest) => [own, ...rest]),
    ).flat();
  };
  return shares(steps, domains.length).map((parts) =>
    domains.map((domain, i) => `${domain}=${parts[i]}/${steps}`).join(","),
  );
}

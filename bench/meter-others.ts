import { cpus } from "node:os";

/** Measures from now on which share of the processors other programs take, given the seconds that the own one took. */
export function meterOthers(): (own: number) => number {
  const busy = () => {
    const times = cpus().map(({ times: { user, nice, sys, irq } }) => user + nice + sys + irq);
    return times.reduce((sum, time) => sum + time) / 1000;
  };
  const [before, start] = [busy(), performance.now()];
  return (own) => (busy() - before - own) / (((performance.now() - start) / 1000) * cpus().length);
}

/** Other programs slow PyTorch, whose threads wait for each other, far more than this engine: ratios mean nothing then. */
export function tellOthers(name: string, share: number): void {
  const warning = share > 0.05 ? ": THE RATIOS ARE NOT VALID" : "";
  console.log(`while ${name} ran, other programs took ${(100 * share).toFixed(0)} % of the processors${warning}`);
}

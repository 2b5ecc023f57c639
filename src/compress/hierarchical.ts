import type { Cluster } from "./group.js";

/**
 * HC-SMoE (Chen et al. 2025): average-linkage clustering of the experts' mean outputs by Euclidean distance. Clusters
 * come in the order of their first member; the centroid is the member nearest to the cluster's mean.
 *
 * @param outputs `[experts, hidden]`
 */
export function hierarchicalClusters(outputs: Float64Array, experts: number, kept: number): Cluster[] {
  const hidden = outputs.length / experts;
  const row = (e: number) => outputs.subarray(e * hidden, (e + 1) * hidden);
  const distance = new Float64Array(experts * experts);
  for (let i = 0; i < experts; i++) {
    for (let j = 0; j < experts; j++) distance[i * experts + j] = euclidean(row(i), row(j));
  }
  const clusters = Array.from({ length: experts }, (_, e) => [e]);
  while (clusters.length > kept) {
    let [first, second, least] = [0, 1, Infinity];
    for (let i = 0; i < clusters.length; i++) {
      for (let j = i + 1; j < clusters.length; j++) {
        const average = averageDistance(distance, experts, clusters[i]!, clusters[j]!);
        if (average < least) [first, second, least] = [i, j, average];
      }
    }
    clusters[first]!.push(...clusters[second]!);
    clusters.splice(second, 1);
  }
  return clusters.map((members) => {
    const mean = new Float64Array(hidden);
    for (const e of members) for (const [k, value] of row(e).entries()) mean[k]! += value / members.length;
    members.sort((a, b) => a - b);
    const toMean = members.map((e) => euclidean(row(e), mean));
    // Two members are always equally far from their mean: rounding must not choose between them.
    const near = Math.min(...toMean) * (1 + 1e-6);
    const centroid = members[toMean.findIndex((d) => d <= near)]!;
    return { centroid, absorbed: members.filter((e) => e !== centroid) };
  });
}

function euclidean(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += (a[k]! - b[k]!) ** 2;
  return Math.sqrt(sum);
}

function averageDistance(distance: Float64Array, experts: number, a: readonly number[], b: readonly number[]): number {
  let sum = 0;
  for (const i of a) for (const j of b) sum += distance[i * experts + j]!;
  return sum / (a.length * b.length);
}

import { expect, test } from "vitest";
import { StatesInMemory } from "../../../src/model/hidden-states.js";
import { RoutedRows } from "../../../src/pipeline/steps/routed-rows.js";
import { Random } from "../../../src/random.js";

test("lists the tokens of each expert in their order, some at a time, without those that a mask hides", () => {
  const [experts, topK, size] = [3, 2, 4];
  const random = new Random(1);
  const tokens = [5000, 1, 700];
  const hidden = tokens.map((count) => Float32Array.from({ length: count * size }, () => random.normal()));
  const rows = new RoutedRows(experts, new StatesInMemory(hidden), tokens);
  const wanted: { token: number; weight: number; hidden: number[] }[][] = [[], [], []];
  let first = 0;
  for (const [batch, count] of tokens.entries()) {
    const selected = new Int32Array(count * topK);
    const weights = Float32Array.from(selected, () => random.next());
    const mask = batch === 1 ? undefined : Uint8Array.from({ length: count }, () => random.below(4));
    for (let token = 0; token < count; token++) {
      const left = random.below(experts);
      const own = Array.from({ length: experts }, (_, e) => e).filter((e) => e !== left);
      selected.set(own, token * topK);
      if (mask?.[token] === 0) continue;
      for (const [i, expert] of own.entries())
        wanted[expert]!.push({
          ...{ token: first + token, weight: weights[token * topK + i]! },
          hidden: [...hidden[batch]!.subarray(token * size, (token + 1) * size)],
        });
    }
    rows.add(
      batch,
      { logits: new Float32Array(0), scores: new Float32Array(0), routing: { tokens: count, topK, selected, weights } },
      mask,
    );
    first += count;
  }
  for (let expert = 0; expert < experts; expert++) {
    const found = [...rows.of(expert)].flatMap(({ tokens, weights, hidden }) =>
      Array.from(tokens, (token, i) => ({
        ...{ token, weight: weights[i]! },
        hidden: [...hidden.subarray(i * size, (i + 1) * size)],
      })),
    );
    expect(found).toEqual(wanted[expert]);
    expect(found.length).toBeGreaterThan(2500);
    expect([...rows.listed(expert)].every(({ tokens }) => tokens.length <= 4096)).toBe(true);
  }
});

import { describe, expect, test } from "vitest";
import { type ChoiceOptions, chooseKept } from "../../../src/compress/choose/choose-kept.js";
import { keepByCoActivation } from "../../../src/compress/choose/co-activation.js";
import { droppedOf, highest, routerGroupOf } from "../../../src/compress/choose/kept-sets.js";
import { MeasuredBlock } from "../../../src/compress/choose/measured-block.js";
import { RefittedBlock } from "../../../src/compress/choose/refitted-block.js";
import { superExperts } from "../../../src/compress/choose/super-experts.js";
import { swapExperts } from "../../../src/compress/choose/swap.js";
import { relative } from "../../../src/compress/reconstruct/refit.js";
import { createReferenceBackend } from "../../../src/engine/reference/reference-backend.js";
import { Random } from "../../../src/random.js";
import { MadeBlock } from "./made-block.js";

const none = new Set<number>();
const pause = async () => undefined;

describe("experts that stay", () => {
  test("are the highest, those that are fixed before, as many of each of the router's groups", () => {
    const ranking = Float64Array.of(5, 4, 3, 2, 1, 0);
    expect(highest(ranking, { experts: 6, kept: 2, routerGroups: 1, fixed: none })).toEqual([0, 1]);
    expect(highest(ranking, { experts: 6, kept: 2, routerGroups: 1, fixed: new Set([4]) })).toEqual([0, 4]);
    expect(highest(ranking, { experts: 6, kept: 2, routerGroups: 2, fixed: none })).toEqual([0, 3]);
  });
});

describe("co-activation", () => {
  // 0 and 1 cancel each other: dropping both costs nothing, either alone 4.
  const cancelling = Float64Array.of(4, -4, 0, 0, -4, 4, 0, 0, 0, 0, 5, 0, 0, 0, 0, 1);

  test("drops what costs least together", () => {
    expect(keepByCoActivation(cancelling, { experts: 4, kept: 1, routerGroups: 1, fixed: none })).toEqual([2]);
    expect(keepByCoActivation(cancelling, { experts: 4, kept: 3, routerGroups: 1, fixed: none })).toEqual([0, 1, 2]);
  });

  test("spares fixed experts and keeps the router's groups equal", () => {
    expect(keepByCoActivation(cancelling, { experts: 4, kept: 3, routerGroups: 1, fixed: new Set([3]) })).toEqual([
      0, 2, 3,
    ]);
    expect(keepByCoActivation(cancelling, { experts: 4, kept: 2, routerGroups: 2, fixed: none })).toEqual([0, 2]);
  });

  test("of equal ones the last goes first", () => {
    const equal = Float64Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1);
    expect(keepByCoActivation(equal, { experts: 3, kept: 1, routerGroups: 1, fixed: none })).toEqual([0]);
  });
});

test("super experts are those a hundred times above the median of the used ones, as many as there is room for", () => {
  const lost = Float64Array.of(1, 2, 0, 250, 2, 199, 1000, 2);
  const size = { experts: 8, kept: 4, routerGroups: 1 };
  expect(superExperts(lost, size)).toEqual([3, 6]);
  expect(superExperts(lost, { ...size, kept: 1 })).toEqual([6]);
  expect(superExperts(lost, { ...size, kept: 2, routerGroups: 2 })).toEqual([3, 6]);
  expect(superExperts(new Float64Array(8), size)).toEqual([]);
});

describe("on a block", () => {
  const backend = createReferenceBackend("f32");
  const random = new Random(11);
  const sizes = { count: 12, hidden: 10, width: 5 };
  const made = new MadeBlock(
    backend,
    random,
    sizes,
    { scores: "sigmoid", topK: 2, normalise: true, groups: { count: 2, kept: 1, score: "max" } },
    { biased: true },
  );
  const measured = (tokens: number) => {
    const x = Float32Array.from({ length: tokens * sizes.hidden }, () => random.normal());
    return MeasuredBlock.of(backend, made.block, made.tokens(x, new Float32Array(tokens).fill(1)), pause);
  };
  const size = { experts: 12, kept: 8, routerGroups: 2, fixed: new Set([1]) };
  const start = highest(
    Float64Array.from({ length: 12 }, () => random.next()),
    size,
  );
  const groups = (kept: readonly number[]) => kept.filter((e) => routerGroupOf(e, size) === 0).length;

  test("exchanges end where none lowers the error, within the router's groups", async () => {
    const block = await measured(80);
    const { kept, swaps } = await swapExperts(block, start, size, pause);
    const lost = (set: readonly number[]) => block.lost(droppedOf(set, 12)).lost;
    expect(swaps).toBeGreaterThan(0);
    expect(lost(kept)).toBeLessThan(lost(start));
    expect([kept.length, groups(kept), kept.includes(1)]).toEqual([8, 4, true]);
    for (const out of kept) {
      for (let other = 0; other < 12; other++) {
        if (out === 1 || kept.includes(other) || routerGroupOf(out, size) !== routerGroupOf(other, size)) continue;
        expect(lost([...kept.filter((e) => e !== out), other])).toBeGreaterThanOrEqual(lost(kept));
      }
    }
  });

  test("the choice is what loses least on held-out tokens, and exchanges that do not hold there are dropped", async () => {
    const sides = { search: await measured(6), heldOut: await measured(200) };
    const saliencies = new Map(
      ["a", "b", "c"].map((name) => [name, Float64Array.from({ length: 12 }, () => random.next())]),
    );
    const options = (criterion: ChoiceOptions["criterion"]): ChoiceOptions => ({
      ...{ ...size, backend, saliencies, pause, criterion },
    });
    const errorOf = (kept: readonly number[]) => relative(sides.heldOut.lost(droppedOf(kept, 12)));
    const auto = await chooseKept(sides, options("auto"));
    expect(Object.keys(auto.choice.errors)).toEqual(["a", "b", "c", "co-activation"]);
    expect(auto.choice.error).toBe(Math.min(...Object.values(auto.choice.errors)));
    expect(errorOf(auto.kept)).toBe(auto.choice.error);

    const swapped = await chooseKept(sides, options("swap"));
    expect(errorOf(swapped.kept)).toBe(swapped.choice.error);
    expect(swapped.choice.error).toBeLessThanOrEqual(auto.choice.error);
    // Six tokens are too few to learn anything from: what is found on them is undone.
    expect((await swapExperts(sides.search, auto.kept, size, pause)).swaps).toBeGreaterThan(0);
    expect(swapped.choice.swaps).toBe(0);
    expect(swapped.kept).toEqual(auto.kept);
  });

  test("with refits, the choice is what loses least on held-out tokens after one", async () => {
    const sides = { search: await measured(2000), heldOut: await measured(1000) };
    const saliencies = new Map(
      ["a", "b"].map((name) => [name, Float64Array.from({ length: 12 }, () => random.next())]),
    );
    const { kept, choice } = await chooseKept(sides, {
      ...{ ...size, backend, saliencies, pause, criterion: "refit-swap" },
    });
    const refitted = new RefittedBlock(backend, sides.search, sides.heldOut);
    expect(relative(refitted.lost(droppedOf(kept, 12)))).toBe(choice.error);
    expect(choice.swaps).toBeGreaterThan(0);
    expect(choice.error).toBeLessThan(Math.min(...Object.values(choice.errors)));
    expect([kept.length, groups(kept), kept.includes(1)]).toEqual([8, 4, true]);
  });
});

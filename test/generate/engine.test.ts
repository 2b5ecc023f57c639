import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import type { Backend } from "../../src/engine/backend.js";
import { createNativeBackend } from "../../src/engine/native/native-backend.js";
import { GREEDY, type Sampling } from "../../src/evaluate/language-model.js";
import type { DecodeRequest, TokenStep } from "../../src/generate/contract.js";
import { type EngineOptions, type LocalEngine, openEngine } from "../../src/generate/engine.js";
import { describeModel } from "../../src/model/describe.js";
import type { ModelDescription } from "../../src/model/description.js";
import { forward, OutputHead } from "../../src/model/forward.js";
import { Random } from "../../src/random.js";
import { EVALUATE_GOLDENS } from "../evaluate/golden-files.js";
import { all, NEVER } from "./golden-model.js";

let checkpoint: Checkpoint;
let model: ModelDescription;
beforeAll(async () => {
  checkpoint = await Checkpoint.open(join(EVALUATE_GOLDENS, "model"));
  model = describeModel(checkpoint.config, checkpoint);
});
afterAll(() => checkpoint.close());

const native: Backend = createNativeBackend({ precision: "f32" });

async function withEngine<T>(options: EngineOptions, use: (engine: LocalEngine) => Promise<T>, backend = native) {
  const engine = await openEngine({ checkpoint, model }, backend, options);
  try {
    const result = await use(engine);
    // Nothing is remembered of what is over. Jobs are taken out before the next pass.
    await expect.poll(() => engine.stateBytes).toBe(0);
    return result;
  } finally {
    await engine.close();
  }
}

const random = new Random(5);
const ids = (length: number) => Array.from({ length }, () => 3 + random.below(1000));
const SAMPLED: Sampling = { temperature: 1, topP: 0.95, topK: 0, minP: 0.01, seed: 11 };

function request(prompt: readonly number[], more: Partial<DecodeRequest> = {}): DecodeRequest {
  return { prompt, maxTokens: 12, endTokens: new Set([1]), sampling: GREEDY, top: 2, signal: NEVER, ...more };
}

const shared = ids(20);
const decodes = [
  request(ids(1)),
  request(ids(150), { sampling: SAMPLED }),
  request(shared, { sampling: SAMPLED }),
  request(shared, { sampling: { ...SAMPLED, seed: 12 }, maxTokens: 30 }),
  request(ids(70), { maxTokens: 3 }),
].map((one) => ({ ...one, endTokens: new Set<number>() }));
const scores = [
  { context: ids(90), continuations: [ids(1), ids(9), ids(1)], top: 1 },
  {
    context: [...shared],
    continuations: [
      [7, 8, 9],
      [7, 8, 10],
      [7, 8, 9, 11],
    ],
    top: 3,
  },
  { context: ids(3), continuations: [ids(200)], top: 1, skip: [10] },
];

/** What each request yields. */
type Results = { decoded: TokenStep[][]; scored: (readonly (readonly TokenStep[])[])[] };

async function together(engine: LocalEngine, order: (list: readonly number[]) => number[]): Promise<Results> {
  const decoded: TokenStep[][] = [];
  const scored: (readonly (readonly TokenStep[])[])[] = [];
  const work = [
    ...order(decodes.map((_, i) => i)).map(async (i) => {
      decoded[i] = await all(engine.decode(decodes[i]!));
    }),
    ...order(scores.map((_, i) => i)).map(async (i) => {
      scored[i] = await engine.score(scores[i]!, NEVER);
    }),
  ];
  await Promise.all(work);
  return { decoded, scored };
}

describe.each(["f32", "bf16"] as const)("%s", (precision) => {
  const backend = createNativeBackend({ precision });

  test("results are the same bits alone, together, in another order, in small passes, short of memory, and streamed", async () => {
    const alone = await withEngine(
      {},
      async (engine) => {
        const results: Results = { decoded: [], scored: [] };
        for (const decode of decodes) results.decoded.push(await all(engine.decode(decode)));
        for (const score of scores) results.scored.push(await engine.score(score, NEVER));
        return results;
      },
      backend,
    );
    expect(alone.decoded.map(({ length }) => length)).toEqual([12, 12, 12, 30, 3]);
    const same = (list: readonly number[]) => [...list];
    const reversed = (list: readonly number[]) => [...list].reverse();
    for (const [options, order] of [
      [{}, same],
      [{}, reversed],
      [{ passTokens: 16, sliceTokens: 5, logitRows: 1 }, same],
      [{ cacheTokens: 240, passTokens: 64 }, reversed],
      [{ resident: "no" }, same],
    ] as const) {
      const results = await withEngine(options, (engine) => together(engine, order), backend);
      expect(results).toEqual(alone);
    }
  });
});

test("steps are those of a forward pass without a cache", async () => {
  const { context, continuations } = scores[0]!;
  const steps = await withEngine({ passTokens: 32 }, (engine) => engine.score(scores[0]!, NEVER));
  const head = await OutputHead.load(checkpoint, model, native);
  for (const [index, continuation] of continuations.entries()) {
    const row = [...context, ...continuation].slice(0, -1);
    const batch = { sequences: 1, length: row.length, ids: Int32Array.from(row) };
    const [hidden] = await forward(checkpoint, model, native, [batch]);
    const logits = head.logits(hidden!);
    for (const [i, id] of continuation.entries()) {
      const start = (context.length - 1 + i) * model.vocabularySize;
      const values = [...logits.subarray(start, start + model.vocabularySize)];
      const sum = values.reduce((total, value) => total + Math.exp(value), 0);
      expect(steps[index]![i]!.logProbability).toBeCloseTo(values[id]! - Math.log(sum), 3);
    }
  }
  head.dispose();
});

test("memory that is short sets answers back, which then go on as if nothing had been", async () => {
  const many = Array.from({ length: 6 }, (_, i) => request([3 + i, 50, 60], { maxTokens: 60, endTokens: new Set() }));
  const run = (options: EngineOptions) =>
    withEngine(options, (engine) => Promise.all(many.map((one) => all(engine.decode(one)))));
  const free = await run({});
  expect(free.every(({ length }) => length === 60)).toBe(true);
  // Six answers of 63 tokens do not fit; three do.
  expect(await run({ cacheTokens: 200 })).toEqual(free);
});

test("without log-probabilities the tokens are the same", async () => {
  const quick = { ...decodes[2]!, top: 0, logProbabilities: false };
  const [told, untold] = await withEngine({}, (engine) =>
    Promise.all([all(engine.decode(decodes[2]!)), all(engine.decode(quick))]),
  );
  expect(untold.map(({ id }) => id)).toEqual(told.map(({ id }) => id));
  expect(untold.every(({ logProbability }) => Number.isNaN(logProbability))).toBe(true);
});

test("an answer ends at its end token, after maxTokens, or where the model's positions end", async () => {
  const prompt = ids(10);
  await withEngine({}, async (engine) => {
    const free = await all(engine.decode(request(prompt, { endTokens: new Set() })));
    expect(free).toHaveLength(12);
    const end = free[4]!.id;
    const ended = await all(engine.decode(request(prompt, { endTokens: new Set([end]) })));
    expect(ended.map(({ id }) => id)).toEqual(
      free.slice(0, free.findIndex(({ id }) => id === end) + 1).map(({ id }) => id),
    );
    expect(await all(engine.decode(request(prompt, { maxTokens: 0 })))).toEqual([]);
    const long = ids(model.maxPositions - 5);
    expect(await all(engine.decode(request(long, { endTokens: new Set() })))).toHaveLength(5);
  });
});

test("an aborted answer leaves at once, and the others do not notice", async () => {
  await withEngine({}, async (engine) => {
    const expected = await all(engine.decode(decodes[3]!));
    const controller = new AbortController();
    const doomed = engine.decode(
      request(ids(100), { maxTokens: 400, endTokens: new Set(), signal: controller.signal }),
    );
    const other = all(engine.decode(decodes[3]!));
    await doomed.next();
    controller.abort(new Error("enough"));
    await expect(doomed.next()).rejects.toThrow("enough");
    const scored = engine.score({ context: ids(300), continuations: [ids(50)], top: 0 }, controller.signal);
    await expect(scored).rejects.toThrow("enough");
    expect(await other).toEqual(expected);
  });
});

test("a caller who stops reading frees the answer's place", async () => {
  await withEngine({}, async (engine) => {
    for await (const _ of engine.decode(request(ids(30), { maxTokens: 400, endTokens: new Set() }))) break;
  });
});

test("what cannot be computed is named", async () => {
  await withEngine({ cacheTokens: 300 }, async (engine) => {
    const decode = (prompt: number[], more: Partial<DecodeRequest> = {}) => all(engine.decode(request(prompt, more)));
    const score = (context: number[], continuation: number[]) =>
      engine.score({ context, continuations: [continuation], top: 0 }, NEVER);
    await expect(decode([])).rejects.toMatchObject({ code: "PROMPT_EMPTY" });
    await expect(score([], [3])).rejects.toMatchObject({ code: "PROMPT_EMPTY" });
    await expect(decode([model.vocabularySize])).rejects.toMatchObject({ code: "TOKEN_RANGE" });
    await expect(score([1], [-1])).rejects.toMatchObject({ code: "TOKEN_RANGE" });
    await expect(decode(ids(model.maxPositions))).rejects.toMatchObject({ code: "PROMPT_TOO_LONG" });
    await expect(score(ids(500), ids(14))).rejects.toMatchObject({ code: "PROMPT_TOO_LONG" });
    await expect(decode(ids(200), { maxTokens: 101 })).rejects.toMatchObject({ code: "CACHE_TOO_SMALL" });
    await expect(score(ids(200), ids(101))).rejects.toMatchObject({ code: "CACHE_TOO_SMALL" });
    // It goes on working.
    expect(await decode([5], { maxTokens: 1 })).toHaveLength(1);
  });
});

test("a failure of a pass is told to those who wait for it, and the engine goes on", async () => {
  let broken = true;
  const failing: Backend = {
    ...native,
    attendCached: (...parameters) => {
      if (broken) throw new Error("out of order");
      return native.attendCached(...parameters);
    },
  };
  await withEngine(
    {},
    async (engine) => {
      const results = await Promise.allSettled([all(engine.decode(decodes[0]!)), engine.score(scores[0]!, NEVER)]);
      expect(results.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
      broken = false;
      expect(await all(engine.decode(request([5], { maxTokens: 2, endTokens: new Set() })))).toHaveLength(2);
    },
    failing,
  );
});

test("closing ends what runs", async () => {
  const engine = await openEngine({ checkpoint, model }, native);
  const running = all(engine.decode(request(ids(30), { maxTokens: 400, endTokens: new Set() })));
  const ended = expect(running).rejects.toMatchObject({ code: "ENGINE_CLOSED" });
  await engine.close();
  await ended;
  await expect(all(engine.decode(request([5])))).rejects.toMatchObject({ code: "ENGINE_CLOSED" });
});

import { join } from "node:path";
import { expect, test } from "vitest";
import { Checkpoint } from "../../../src/checkpoint/checkpoint.js";
import { describeModel } from "../../../src/model/describe.js";
import { embed } from "../../../src/model/embedding.js";
import { expectCode } from "../../checkpoint/support.js";
import { GOLDENS, readJson } from "../../support/goldens.js";

test("sequences longer than what the indexer chooses are refused before any layer runs", async () => {
  const config = readJson<Record<string, unknown>>(join(GOLDENS, "forward/deepseek_v3/config.json"));
  const model = describeModel({ ...config, model_type: "deepseek_v32", index_topk: 6 });
  expect(model).toMatchObject({ exactPositions: 6, maxPositions: 6 });
  const checkpoint = await Checkpoint.open(join(GOLDENS, "forward/deepseek_v3"));
  try {
    const batch = (length: number) => ({ sequences: 1, length, ids: new Int32Array(length) });
    await expect(embed(checkpoint, model, [batch(6)])).resolves.toHaveLength(1);
    await expectCode("SEQUENCE_LENGTH", () => embed(checkpoint, model, [batch(6), batch(7)]));
  } finally {
    await checkpoint.close();
  }
});

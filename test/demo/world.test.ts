import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildWorld } from "../../demo/world/build.js";

const DOCUMENTS = 2000;
const DATA = join(import.meta.dirname, "../../demo/data");

/** SHA-256 of what the code wrote that the demo model was trained with: another world would need another model. */
const DIGESTS: Readonly<Record<string, string>> = {
  "calibration/code.jsonl": "99bc5412a6a08e2fed49184b985298f89f961f1cd96c5c6ed0f0b98391275e23",
  "calibration/general.jsonl": "6b7716c2788c7c712610bf387601942fc11d90dccc0d9a27fb26c3b80d24f474",
  "calibration/math.jsonl": "d20465e8dd1387008c1b0630f11b95a131f245eb1807da8bee5e93b390fdec54",
  "tasks/compare.jsonl": "ef332db46c9831e140690b393fc986e8c8fb52c336d5a5139f26514081258b1a",
  "tasks/endings.jsonl": "d38e7887b53edc5457f231ae04bcfdda173ce673496e272d0bb520fb1a7a9526",
  "tasks/facts.jsonl": "2ccb55e0efa33c5bc056c0653da5fd63fd63b23d021972609f64139175bcafa1",
  "tasks/fit.jsonl": "1d37684e239c1b1cd4163633e49dc30758f1f3eca48d755a439294c5808e4d79",
  "tasks/follow.jsonl": "a8f70408158225556093a07bee6328fd70f84b5bb75d53181f9ac1912c3cbbc0",
  "tasks/functions.jsonl": "a668bfe91aaee09bcf1d0b3f08c3caf2240c831f7a8fccca7a02debe3ab1c61d",
  "tasks/grammar.jsonl": "ddc34477a9450aac72cc657b7648670a89e9dd23af7dc83eb1b1d80b071ae16b",
  "tasks/kinds.jsonl": "251490e6dec09f884a443f4c18875f32f5a794258d074b0fd809927e43e96e7c",
  "tasks/opposites.jsonl": "1736ab451abb0b164005b1881a45f7d10f28f64ca988d122e15bbcf3f408538c",
  "tasks/reading.jsonl": "d6fd0d81069e558e69d4b06751c4e17f271a2f1b12dd04a1b0e461c1cab5514b",
  "tasks/sequence.jsonl": "62e7031453e2f6b24863a6d9369c8ef3aed59672b9a2db3bd26286b29abdd40c",
  "tasks/sums.jsonl": "1a6903f2322da0c981263cc4c9a1beed97c838ba27fc31ae2833348fe905699e",
  "tasks/trace.jsonl": "8c013a2dd3015af5fa30ac374ff04c44b8fade01a9c486cff88fc53d68251dbf",
  "tasks/word.jsonl": "4f1d7b27e269cf71fca6ed1bc0b7d17636b78461a14228e84f9a402a6e853c4e",
  "train.jsonl": "71ad87cc44133da81747629dbdcc83446bfaf7706c812fb334715c677685701c",
};

describe("the demo world", () => {
  const folder = mkdtempSync(join(tmpdir(), "ream-world-"));
  const read = (root: string, path: string) => readFileSync(join(root, path), "utf8");

  beforeAll(() => buildWorld(folder, DOCUMENTS));
  afterAll(() => rmSync(folder, { recursive: true }));

  it.each(Object.entries(DIGESTS))("writes %s byte for byte", (path, digest) => {
    const found = createHash("sha256").update(read(folder, path)).digest("hex");
    expect(found).toBe(digest);
  });

  it("writes no other tasks", () => {
    const tasks = readdirSync(join(folder, "tasks")).map((file) => `tasks/${file}`);
    expect(tasks.filter((path) => !(path in DIGESTS))).toEqual([]);
  });

  it("has in demo/data the tasks, and the first calibration texts of each domain", () => {
    for (const file of readdirSync(join(folder, "tasks"))) {
      expect(read(DATA, `tasks/${file}`)).toBe(read(folder, `tasks/${file}`));
    }
    for (const domain of ["general", "math", "code"]) {
      const kept = read(DATA, `calibration/${domain}.jsonl`);
      expect(kept.split("\n")).toHaveLength(2501);
      expect(read(folder, `calibration/${domain}.jsonl`).startsWith(kept)).toBe(true);
    }
  });

  it.each(["general", "math", "code"])("repeats no %s text in the held-out texts", (domain) => {
    const used = new Set(read(folder, `calibration/${domain}.jsonl`).split("\n"));
    for (const line of read(folder, "train.jsonl").trimEnd().split("\n")) {
      used.add(JSON.stringify({ text: (JSON.parse(line) as { text: string }).text }));
    }
    for (const root of [folder, DATA]) {
      const heldOut = read(root, `heldout/${domain}.jsonl`).trimEnd().split("\n");
      expect(heldOut).toHaveLength(300);
      expect(new Set(heldOut).size).toBe(300);
      expect(heldOut.filter((line) => used.has(line))).toEqual([]);
    }
  });
});

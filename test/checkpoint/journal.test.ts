import { appendFile, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { Journal } from "../../src/checkpoint/journal.js";
import { expectCode, temporaryFolder } from "./support.js";

it("keeps entries, and cuts off a torn line at every length", async () => {
  const path = join(await temporaryFolder(), "journal.jsonl");
  const first = await Journal.open(path);
  await first.append({ layer: 0, text: "é\n" });
  await first.append({ layer: 1 });
  expect(first.entries).toEqual([{ layer: 0, text: "é\n" }, { layer: 1 }]);
  await first.close();
  const whole = await readFile(path);
  const second = whole.indexOf(0x0a) + 1;
  for (let length = 0; length <= whole.length; length++) {
    await writeFile(path, whole);
    await truncate(path, length);
    const journal = await Journal.open(path);
    expect(journal.entries.length).toBe(length === whole.length ? 2 : length >= second ? 1 : 0);
    await journal.append({ layer: "new" });
    await journal.close();
    const again = await Journal.open(path);
    expect(again.entries).toEqual(journal.entries);
    await again.close();
  }
});

it("refuses a damaged line with a line break", async () => {
  const path = join(await temporaryFolder(), "journal.jsonl");
  await appendFile(path, '{"a":1}\n\0\0\0\n{"a":2}\n');
  const { where } = await expectCode("JOURNAL_DAMAGED", () => Journal.open(path));
  expect(where).toContain("line 2");
});

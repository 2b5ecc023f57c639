import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openSource, sourceRecords } from "../../src/calibration/source.js";
import { hubOptionsFromEnvironment } from "../../src/hub/settings.js";
import { useFakeHub } from "../hub/fake-hub.js";
import { collect, temporaryFolder } from "./folder.js";

const root = temporaryFolder();
const hub = useFakeHub();
const local = hubOptionsFromEnvironment({ HF_HOME: root, HF_HUB_OFFLINE: "1" });
const line = (text: string) => `${JSON.stringify({ text })}\n`;
const texts = async (source: Awaited<ReturnType<typeof openSource>>) =>
  (await collect(sourceRecords(source))).map(({ value }) => value.text);

describe("a local folder", () => {
  const folder = join(root, "corpus");
  mkdirSync(join(folder, "sub/.hidden"), { recursive: true });
  writeFileSync(join(folder, "b.jsonl"), line("b1") + line("b2") + line("b3"));
  writeFileSync(join(folder, "a.txt"), "a1");
  writeFileSync(join(folder, "sub/c.json"), JSON.stringify([{ text: "c1" }, { text: "c2" }]));
  writeFileSync(join(folder, "sub/.hidden/d.txt"), "d");
  writeFileSync(join(folder, ".e.txt"), "e");
  writeFileSync(join(folder, "picture.png"), "x");
  symlinkSync(join(folder, "a.txt"), join(folder, "link.txt"));
  symlinkSync(join(root, "nowhere"), join(folder, "broken.txt"));

  test("is read by name, its files in turn", async () => {
    expect(await texts(await openSource(folder, local))).toEqual(["a1", "b1", "a1", "c1", "b2", "c2", "b3"]);
  });

  test("without text is refused", async () => {
    mkdirSync(join(root, "empty"));
    await expect(openSource(join(root, "empty"), local)).rejects.toMatchObject({ code: "CALIBRATION_SOURCE" });
  });

  test("its files are closed when reading stops", async () => {
    for await (const _ of sourceRecords(await openSource(folder, local))) break;
    expect(process.getActiveResourcesInfo().filter((name) => name.includes("File"))).toEqual([]);
  });
});

test("what is neither path, dataset nor name says so", async () => {
  for (const text of ["nowhere", "./no/where.jsonl", "constructor"]) {
    await expect(openSource(text, local)).rejects.toMatchObject({
      code: "CALIBRATION_SOURCE",
      message: expect.stringMatching(/neither a file or folder nor the id of a hub dataset/),
    });
  }
});

describe("a hub dataset", () => {
  test("gives its training files, one after the other, downloaded when their turn comes", async () => {
    hub.repositories["datasets/org/texts"] = {
      "README.md": Buffer.from("card"),
      "data/test-0.jsonl": Buffer.from(line("no")),
      "data/train-0.jsonl": Buffer.from(line("t0") + line("t1")),
      "data/train-1.jsonl": Buffer.from(line("t2")),
    };
    const source = await openSource("org/texts", hub.options(join(root, "one")));
    const records = sourceRecords(source);
    expect((await records.next()).value?.value.text).toBe("t0");
    expect(hub.downloads("train-0.jsonl")).toHaveLength(1);
    expect(hub.downloads("train-1.jsonl")).toHaveLength(0);
    expect((await collect(records)).map(({ value }) => value.text)).toEqual(["t1", "t2"]);
    expect(hub.downloads("test-0.jsonl")).toHaveLength(0);
    expect(source.label).toMatch(/^hf:\/\/datasets\/org\/texts@[0-9a-f]{40}$/);
  });

  test("a path within it chooses", async () => {
    hub.repositories["datasets/org/texts"] = {
      "train.jsonl": Buffer.from(line("no")),
      "de/x.jsonl": Buffer.from(line("ja")),
    };
    const options = hub.options(join(root, "two"));
    expect(await texts(await openSource("hf://datasets/org/texts/de", options))).toEqual(["ja"]);
    await expect(openSource("hf://datasets/org/texts/fr", options)).rejects.toMatchObject({
      code: "CALIBRATION_SOURCE",
    });
  });
});

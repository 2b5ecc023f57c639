import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { Attempt } from "../../src/study/attempt.js";

const root = mkdtempSync(join(tmpdir(), "ream-attempt-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

function make({ folder }: Attempt, who: string): void {
  mkdirSync(join(folder, "evaluation"));
  writeFileSync(join(folder, "evaluation/answers"), who);
  writeFileSync(join(folder, "result.json"), who);
}

test("two attempts at one job: the first result counts, and nothing is left of the other", async () => {
  const job = join(root, "two");
  const [one, other] = [await Attempt.begin(job), await Attempt.begin(job)];
  expect(one.folder).not.toBe(other.folder);
  make(one, "one");
  make(other, "other");
  const outcomes = await Promise.allSettled([one.publish(), other.publish()]);
  expect(outcomes.some(({ status }) => status === "fulfilled")).toBe(true);
  await Promise.all([one.leave(), other.leave()]);
  expect(readdirSync(job).sort()).toEqual(["evaluation", "result.json"]);
  expect(["one", "other"]).toContain(readFileSync(join(job, "result.json"), "utf8"));
  expect(["one", "other"]).toContain(readFileSync(join(job, "evaluation/answers"), "utf8"));
});

test("one that was left is gone on with, one that is worked at is not", async () => {
  const job = join(root, "left");
  const first = await Attempt.begin(job);
  writeFileSync(join(first.folder, "half"), "");
  const second = await Attempt.begin(job);
  expect(second.folder).not.toBe(first.folder);
  await first.leave();
  const third = await Attempt.begin(job);
  expect(third.folder).toBe(first.folder);
  expect(readdirSync(third.folder)).toContain("half");
});

test("a second publication changes nothing", async () => {
  const job = join(root, "late");
  const first = await Attempt.begin(job);
  make(first, "first");
  await first.publish();
  const late = await Attempt.begin(job);
  make(late, "late");
  await late.publish();
  expect(readFileSync(join(job, "result.json"), "utf8")).toBe("first");
  expect(readFileSync(join(job, "evaluation/answers"), "utf8")).toBe("first");
  expect(readdirSync(job).sort()).toEqual(["evaluation", "result.json"]);
});

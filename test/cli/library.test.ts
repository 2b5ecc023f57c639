import { execFile } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import * as library from "../../src/index.js";
import { readJson } from "../support/goldens.js";
import { temporaryFolder } from "./ream.js";

const root = process.cwd();
const readme = readFileSync("README.md", "utf8");

test("the example of the README runs", async () => {
  const code = /```js\n([\s\S]*?)```/.exec(readme)![1]!;
  const folder = temporaryFolder();
  symlinkSync(join(root, "demo/model"), join(folder, "model"));
  copyFileSync("demo/data/calibration/math.jsonl", join(folder, "texts.jsonl"));
  // Inside the package its own name resolves to what is built.
  const script = join(root, "dist", "readme-example.mjs");
  mkdirSync(join(root, "dist"), { recursive: true });
  writeFileSync(script, code);
  const { stdout } = await promisify(execFile)(process.execPath, [script], { cwd: folder });
  const lines = stdout.trimEnd().split("\n");
  expect(lines[0]).toBe("64 experts, 8 of them for each token, 15437696 bytes");
  expect(lines.at(-1)).toMatch(/^\d+ bytes in \.\/smaller$/);
  expect(lines.length).toBeGreaterThan(5);
  expect(readJson<{ num_experts: number }>(join(folder, "smaller/config.json")).num_experts).toBe(48);
});

test("Start is one block of two lines", () => {
  const start = readme.split("## Start\n")[1]!.split("\n## ")[0]!;
  const blocks = [...start.matchAll(/```sh\n([\s\S]*?)```/g)].map((match) => match[1]!.trimEnd().split("\n"));
  expect(blocks).toEqual([["npm ci && npm run demo", "npm ci && npm test"]]);
});

test("the documentation names every method", () => {
  for (const method of Object.keys(library.METHODS)) expect(readme).toMatch(new RegExp(`^\\| \`${method}\` +\\|`, "m"));
});

test("the library has what the README names, and its version is the package's", () => {
  const names = ["compress", "inspect", "forward", "generate", "measureHeldOut", "loadCalibration"];
  expect(Object.keys(library)).toEqual(expect.arrayContaining(names));
  expect(library.VERSION).toBe(readJson<{ version: string }>("package.json").version);
});

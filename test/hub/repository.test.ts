import { describe, expect, test } from "vitest";
import { isSafePath, looksLikeHubId, parseHubId, repositoryLabel } from "../../src/hub/repository.js";

describe("hub ids", () => {
  test.each([
    ["org/name", { name: "org/name", revision: "main", path: "" }],
    ["org/name@v1.0", { name: "org/name", revision: "v1.0", path: "" }],
    ["hf://org/name@abc", { name: "org/name", revision: "abc", path: "" }],
    ["hf://models/org/name", { name: "org/name", revision: "main", path: "" }],
    ["org/name@refs%2Fpr%2F3", { name: "org/name", revision: "refs/pr/3", path: "" }],
  ])("%s", (text, expected) => {
    expect(parseHubId(text, "model")).toEqual({ type: "model", ...expected });
  });

  test("datasets have a path", () => {
    const repository = parseHubId("hf://datasets/org/name@dev/data/en/", "dataset");
    expect(repository).toEqual({ type: "dataset", name: "org/name", revision: "dev", path: "data/en" });
    expect(repositoryLabel(repository, "c0ffee")).toBe("hf://datasets/org/name@c0ffee/data/en");
  });

  test.each([
    "",
    "name",
    "/org/name",
    "./org/name",
    "../x",
    "org/name/file",
    "org/",
    "C:\\models",
    "org name/x",
    "https://x/y",
  ])("%j does not look like one", (text) => {
    expect(looksLikeHubId(text)).toBe(false);
    expect(() => parseHubId(text, "model")).toThrow(expect.objectContaining({ code: "HUB_ID" }));
  });

  test.each([
    "org/na--me",
    "org/a..b",
    "org/name.git",
    "org/name@..",
    "org/name@a%2F..%2Fb",
    "org/name@%zz",
    "hf://datasets/org/name",
    "hf://org/name/file",
  ])("%j is refused as a model", (text) => {
    expect(() => parseHubId(text, "model")).toThrow(expect.objectContaining({ code: "HUB_ID" }));
  });

  test("paths from elsewhere stay inside", () => {
    expect(["a", "a/b.json", "a-1/ö.txt", "..a/b..", "a b"].every(isSafePath)).toBe(true);
    for (const path of ["", "/a", "../a", "a/../b", "a//b", "a/", "./a", "a\\b", "C:a", "a\0b", "http://x"]) {
      expect(isSafePath(path), path).toBe(false);
    }
  });
});

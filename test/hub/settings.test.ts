import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { hubOptionsFromEnvironment } from "../../src/hub/settings.js";

const folder = mkdtempSync(join(tmpdir(), "ream-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("hubOptionsFromEnvironment", () => {
  test("the cache is where all Hugging Face tools have it", () => {
    const cache = (environment: Record<string, string>) => hubOptionsFromEnvironment(environment).cache;
    expect(cache({})).toBe(join(homedir(), ".cache", "huggingface", "hub"));
    expect(cache({ XDG_CACHE_HOME: "/x" })).toBe("/x/huggingface/hub");
    expect(cache({ XDG_CACHE_HOME: "/x", HF_HOME: "/h" })).toBe("/h/hub");
    expect(cache({ HF_HOME: "/h", HUGGINGFACE_HUB_CACHE: "/o" })).toBe("/o");
    expect(cache({ HF_HOME: "/h", HUGGINGFACE_HUB_CACHE: "/o", HF_HUB_CACHE: "/c" })).toBe("/c");
  });

  test("the token comes from HF_TOKEN, HF_TOKEN_PATH or the home's file, in this order", () => {
    mkdirSync(join(folder, "home"));
    writeFileSync(join(folder, "home", "token"), "hf_home\n");
    writeFileSync(join(folder, "other"), "hf_path");
    const token = (environment: Record<string, string>) =>
      hubOptionsFromEnvironment({ HF_HOME: join(folder, "home"), ...environment }).token;
    expect(token({})).toBe("hf_home");
    expect(token({ HF_TOKEN_PATH: join(folder, "other") })).toBe("hf_path");
    expect(token({ HF_TOKEN_PATH: join(folder, "other"), HF_TOKEN: " hf_own " })).toBe("hf_own");
    expect(token({ HF_TOKEN_PATH: join(folder, "absent") })).toBeUndefined();
    expect(() => token({ HF_TOKEN: "hf_a\nb" })).toThrow(expect.objectContaining({ code: "HUB_OPTIONS" }));
  });

  test("endpoint and offline mode", () => {
    const options = (environment: Record<string, string>) => hubOptionsFromEnvironment(environment);
    expect(options({})).toMatchObject({ endpoint: "https://huggingface.co", offline: false });
    expect(options({ HF_ENDPOINT: "https://mirror.example/" }).endpoint).toBe("https://mirror.example");
    expect(() => options({ HF_ENDPOINT: "ftp://x" })).toThrow(expect.objectContaining({ code: "HUB_OPTIONS" }));
    expect(() => options({ HF_ENDPOINT: "mirror" })).toThrow(expect.objectContaining({ code: "HUB_OPTIONS" }));
    for (const value of ["1", "true", "YES", "on"]) expect(options({ HF_HUB_OFFLINE: value }).offline).toBe(true);
    for (const value of ["0", "false", ""]) expect(options({ HF_HUB_OFFLINE: value }).offline).toBe(false);
  });
});

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished } from "vitest";
import { ReamError } from "../../src/errors.js";

/** An empty folder that the test's end removes. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "ream-checkpoint-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Expects that `action` fails with a `ReamError` of this code, and returns it. */
export async function expectCode(code: string, action: () => unknown): Promise<ReamError> {
  let result: unknown;
  try {
    result = await action();
  } catch (error) {
    if (!(error instanceof ReamError)) throw error;
    expect({ code: error.code, message: error.message }).toEqual({ code, message: error.message });
    return error;
  }
  throw new Error(`expected ${code}, but it succeeded with ${String(result)}`);
}

/** Bytes of a safetensors file with this header, as text or as a value, and this much data. */
export function safetensorsBytes(header: string | object, dataBytes: number): Uint8Array {
  const json = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = Buffer.alloc(8 + json.length + dataBytes);
  bytes.writeBigUInt64LE(BigInt(json.length));
  json.copy(bytes, 8);
  for (let i = 0; i < dataBytes; i++) bytes[8 + json.length + i] = i % 251;
  return bytes;
}

/** Writes files into a folder: text, bytes, or a value as JSON. */
export async function writeFiles(folder: string, files: Record<string, string | Uint8Array | object>): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    const plain = typeof content === "string" || content instanceof Uint8Array;
    await writeFile(join(folder, name), plain ? content : JSON.stringify(content));
  }
}

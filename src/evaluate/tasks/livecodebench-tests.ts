import { inflateSync } from "node:zlib";
import { z } from "zod";
import { ReamError } from "../../errors.js";
import { sha256 } from "../../sha256.js";
import { pickledText } from "../data/pickled-text.js";
import type { Doc } from "../judge.js";

/** Most bytes of one problem's hidden tests after decompression. */
const MAX_TESTS = 256 * 2 ** 20;

/** One test: what a program reads and has to write, or the arguments of a function, one JSON value a line, and its result. */
const codeTest = z.object({ input: z.string(), output: z.string(), testtype: z.enum(["stdin", "functional"]) });
const codeTests = z.array(codeTest);
const metadata = z.object({ func_name: z.string().nullish() });

export type CodeTest = z.infer<typeof codeTest>;

/**
 * The hidden tests of a problem, kept as they are in the file (base64 of compressed, pickled JSON): all of them together
 * would need many times the memory. In records of the document it is a digest.
 */
export class HiddenTests {
  private readonly bytes: Uint8Array;
  private readonly digest: string;

  constructor(text: string) {
    this.digest = sha256(text);
    // Plain JSON in some rows; copied, so that no text of a whole line is kept alive.
    this.bytes = text.startsWith("[") ? Buffer.from(text) : Buffer.from(text, "base64");
  }

  decode(): unknown {
    const json = this.bytes[0] === 0x5b ? Buffer.from(this.bytes).toString() : pickledText(this.inflated());
    return JSON.parse(json);
  }

  toJSON(): Record<string, unknown> {
    return { sha256: this.digest, bytes: this.bytes.length };
  }

  private inflated(): Uint8Array {
    return inflateSync(this.bytes, { maxOutputLength: MAX_TESTS });
  }
}

/**
 * All tests of a LiveCodeBench problem, the public ones first, and the function that they call (undefined: a whole
 * program is run). Decodes at each call; not kept. Errors: LIVECODEBENCH_TESTS.
 */
export function livecodebenchTests(doc: Doc): { functionName: string | undefined; tests: CodeTest[] } {
  try {
    const { private_test_cases: hidden } = doc;
    const decoded = hidden instanceof HiddenTests ? hidden : new HiddenTests(z.string().parse(hidden));
    const tests = [
      ...codeTests.parse(JSON.parse(z.string().parse(doc.public_test_cases))),
      ...codeTests.parse(decoded.decode()),
    ];
    const { func_name } = metadata.parse(JSON.parse(z.string().parse(doc.metadata)));
    return { functionName: func_name ?? undefined, tests };
  } catch (cause) {
    throw new ReamError("LIVECODEBENCH_TESTS", `the tests of a problem cannot be read (${reason(cause)})`, {
      where: `livecodebench ${String(doc.question_id)}`,
      hint: "Get the data again: it should be livecodebench/code_generation_lite of the hub.",
      cause,
    });
  }
}

function reason(cause: unknown): string {
  return (cause instanceof z.ZodError ? z.prettifyError(cause) : (cause as Error).message).slice(0, 200);
}

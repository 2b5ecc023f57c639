import { ReamError } from "../errors.js";
import type { SourceRecord } from "./readers/record.js";

/** One turn of a conversation, in the form that chat templates read. */
export interface Message {
  readonly role: string;
  readonly content: unknown;
  readonly [key: string]: unknown;
}

/** A document before tokenisation: running text, a conversation, or both where a conversation also has a plain form. */
export interface TextDocument {
  readonly text?: string;
  readonly messages?: readonly Message[];
}

/** Fields that hold a request and its answer, in the order in which they are tried. */
const PAIRS: readonly (readonly [string, string])[] = [
  ["prompt", "answer"],
  ["prompt", "response"],
  ["prompt", "completion"],
  ["instruction", "output"],
  ["question", "answer"],
  ["problem", "solution"],
];

/** Names under which conversations in the ShareGPT form give the speaker. */
const SPEAKERS: Record<string, string> = {
  human: "user",
  user: "user",
  gpt: "assistant",
  assistant: "assistant",
  model: "assistant",
  bot: "assistant",
  chatgpt: "assistant",
  system: "system",
  tool: "tool",
  function: "tool",
};

/** Columns that `documentOf` may look at; a Parquet reader need not decode others. */
export const KNOWN_FIELDS: readonly string[] = [
  ...new Set(["text", "content", "messages", "conversations", ...PAIRS.flat(), "input", "solution"]),
];

function fieldOf(record: SourceRecord, field: string): unknown {
  return Object.hasOwn(record.value, field) ? record.value[field] : undefined;
}

function fail(record: SourceRecord, message: string, hint: string): ReamError {
  return new ReamError("CALIBRATION_FIELD", message, { where: record.where, hint });
}

function textOf(record: SourceRecord, field: string): string | undefined {
  const value = fieldOf(record, field);
  if (value === undefined || value === null || typeof value === "string") return value ?? undefined;
  throw fail(
    record,
    `Field "${field}" is not a text.`,
    "Name the field that holds the text with --field DOMAIN=FIELD.",
  );
}

function conversationOf(record: SourceRecord, field: string, value: readonly unknown[]): TextDocument | undefined {
  const messages = value.map((turn, index): Message => {
    const fields = (typeof turn === "object" && turn !== null ? turn : {}) as Record<string, unknown>;
    const role = Object.hasOwn(fields, "role") ? fields.role : SPEAKERS[String(fields.from).toLowerCase()];
    const content = Object.hasOwn(fields, "content") ? fields.content : fields.value;
    if (typeof role !== "string" || (typeof content !== "string" && !Array.isArray(content) && content !== null)) {
      throw fail(
        record,
        `Turn ${index + 1} of "${field}" has no role and content (or from and value).`,
        "Write turns as {role, content} with roles system, user, assistant, tool.",
      );
    }
    return Object.hasOwn(fields, "role") ? (fields as unknown as Message) : { role, content };
  });
  return messages.length === 0 ? undefined : { messages };
}

function fieldDocument(record: SourceRecord, field: string): TextDocument | undefined {
  const value = fieldOf(record, field);
  if (Array.isArray(value)) return conversationOf(record, field, value);
  const text = textOf(record, field);
  return text === undefined || text.trim() === "" ? undefined : { text };
}

/**
 * The document of a record: its field `field`, or the first known field that is present: text, content, messages,
 * conversations, a pair of request and answer (as a conversation; its plain form joins both with a blank line), solution.
 * Undefined where that field is empty. Errors: CALIBRATION_FIELD.
 */
export function documentOf(record: SourceRecord, field?: string): TextDocument | undefined {
  const fields = Object.keys(record.value);
  if (field !== undefined) {
    if (Object.hasOwn(record.value, field)) return fieldDocument(record, field);
    throw fail(record, `There is no field "${field}".`, `The record has: ${listed(fields)}.`);
  }
  const present = (name: string) => (fieldOf(record, name) ?? null) !== null;
  for (const name of ["text", "content", "messages", "conversations"]) {
    if (present(name)) return fieldDocument(record, name);
  }
  for (const [request, answer] of PAIRS) {
    if (present(request) && present(answer)) return pairDocument(record, request, answer);
  }
  if (present("solution")) return fieldDocument(record, "solution");
  if (fields.some((name) => KNOWN_FIELDS.includes(name) && !present(name))) return undefined;
  throw fail(
    record,
    `No field is known to hold text; the record has ${listed(fields)}.`,
    "Name the field with --field DOMAIN=FIELD.",
  );
}

function pairDocument(record: SourceRecord, request: string, answer: string): TextDocument | undefined {
  const input = request === "instruction" ? textOf(record, "input") : undefined;
  const asked = [textOf(record, request), input]
    .filter((text) => text !== undefined && text.trim() !== "")
    .join("\n\n");
  const answered = textOf(record, answer) ?? "";
  if (asked === "" || answered.trim() === "") return undefined;
  return {
    text: `${asked}\n\n${answered}`,
    messages: [
      { role: "user", content: asked },
      { role: "assistant", content: answered },
    ],
  };
}

function listed(fields: readonly string[]): string {
  return fields.length === 0 ? "no fields" : fields.slice(0, 20).join(", ");
}

import { ReamError } from "../../errors.js";
import { sha256 } from "../../sha256.js";
import type { Doc } from "../judge.js";
import { isSpace } from "../judges/python-text.js";
import type { LanguageModel } from "../language-model.js";
import type { ChoiceRequest, ChoiceTask, GenerateRequest, GenerateTask, Task, TaskRequest } from "../task.js";
import { exampleChooser } from "./examples.js";
import { type ChatForm, chatForm, plainForm } from "./forms.js";
import { answerPrefix, contextPieces, type Piece, targetDelimiter } from "./pieces.js";

/** A row of a task and its position in its split or file. */
export interface TaskItem {
  readonly id: number;
  readonly doc: Doc;
}

export interface RequestOptions {
  /** Examples before each question; the task's own number where undefined. */
  readonly fewshot?: number | undefined;
  readonly fewshotPick?: "first" | "random" | undefined;
  /** `single`: examples and question in one turn; `multi`: examples as turns. */
  readonly chat?: "none" | "single" | "multi" | undefined;
  /** Said before the task's own description. */
  readonly system?: string | undefined;
  /** Renders chats by the model's template; absent where only an endpoint can. */
  readonly render?: LanguageModel["render"];
  readonly thinking?: boolean | undefined;
  /** Ids of the items that are asked; undefined: all. The examples of an item do not depend on it. */
  readonly only?: ReadonlySet<number> | undefined;
}

/**
 * The requests of a task's items, in order. `examples`: rows of the few-shot split.
 * Errors: FEWSHOT_TOO_FEW, CHAT_NOT_RENDERED, and those of the template.
 */
export async function buildRequests(
  task: Task,
  items: readonly TaskItem[],
  examples: readonly Doc[],
  options: RequestOptions = {},
): Promise<TaskRequest[]> {
  const fewshot = options.fewshot ?? task.fewshot.count;
  const choose = exampleChooser(task, examples, fewshot, options.fewshotPick ?? task.fewshot.pick);
  const requests: TaskRequest[] = [];
  for (const { id, doc } of items) {
    const chosen = choose(doc);
    if (options.only?.has(id) === false) continue;
    const pieces = contextPieces(task, doc, chosen, options.system);
    const common = { task: task.name, docId: id, fewshot, chat: options.chat ?? "none" } as const;
    requests.push(
      task.kind === "choice"
        ? await choiceRequest(task, doc, pieces, common, options)
        : await generateRequest(task, doc, pieces[0]!, common, options),
    );
  }
  return requests;
}

type Common = Pick<TaskRequest, "task" | "docId" | "fewshot" | "chat">;

async function choiceRequest(
  task: ChoiceTask,
  doc: Doc,
  pieces: readonly (readonly Piece[])[],
  common: Common,
  options: RequestOptions,
): Promise<ChoiceRequest> {
  const contexts: string[] = [];
  for (const list of pieces) contexts.push(await contextOf(list, common, options));
  const prefix = answerPrefix(task, doc);
  // After a template's own start of the answer nothing has to be kept apart; after a prefix it does.
  const kept = common.chat === "none" || (prefix !== undefined && !isSpace(prefix.at(-1)!));
  const delimiter = kept ? targetDelimiter(task) : "";
  const choices = task.choices(doc);
  const continuation = task.continuation?.(doc);
  return {
    ...common,
    kind: "choice",
    contexts,
    continuations: choices.map((choice) => delimiter + (continuation ?? choice)),
    gold: task.gold(doc),
    choices,
    promptHash: sha256(contexts[0]!),
  };
}

async function generateRequest(
  task: GenerateTask,
  doc: Doc,
  pieces: readonly Piece[],
  common: Common,
  options: RequestOptions,
): Promise<GenerateRequest> {
  const chat = common.chat === "none" ? undefined : chatForm(pieces, common.chat);
  const rendered = chat === undefined || options.render !== undefined;
  const context = rendered ? await contextOf(pieces, common, options) : undefined;
  return {
    ...common,
    kind: "generate",
    context,
    messages: chat?.messages,
    answerPrefix: answerPrefix(task, doc),
    stops: task.stops,
    maxTokens: task.maxTokens,
    target: task.target(doc),
    recorded: task.recorded,
    promptHash: sha256(context ?? JSON.stringify(chat?.messages)),
  };
}

/** The whole prompt as text. */
async function contextOf(pieces: readonly Piece[], { chat, task }: Common, options: RequestOptions): Promise<string> {
  if (chat === "none") return plainForm(pieces);
  if (options.render === undefined) {
    throw new ReamError("CHAT_NOT_RENDERED", "log-likelihoods in chat form need the model's chat template as text", {
      where: task,
      hint: "Ask in plain form (--chat none), or name the model's folder or hub id with --tokenizer.",
    });
  }
  return rendered(chatForm(pieces, chat), options);
}

async function rendered({ messages, prefix }: ChatForm, { render, thinking }: RequestOptions): Promise<string> {
  return (await render!(messages, { thinking })) + prefix;
}

/** Text that is HTML already. Everything else is escaped where it meets HTML. */
export class Html {
  constructor(readonly text: string) {}

  toString(): string {
    return this.text;
  }
}

export type Child = Html | string | number | undefined | readonly Child[];

/** A template whose values are escaped, in text and in quoted attributes. Absent values leave nothing. */
export function html(strings: TemplateStringsArray, ...children: readonly Child[]): Html {
  return new Html(strings.reduce((text, part, i) => text + toHtml(children[i - 1]) + part));
}

function toHtml(child: Child): string {
  if (child === undefined) return "";
  if (child instanceof Html) return child.text;
  if (typeof child === "object") return child.map(toHtml).join("");
  return escapeText(visible(String(child)));
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function escapeText(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character]!);
}

/**
 * Names come from files of others: control characters, which HTML forbids, and characters that turn the direction of the
 * text around them become the replacement character.
 */
export function visible(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
  return text.replace(/[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|\p{Surrogate}/gu, "\ufffd");
}

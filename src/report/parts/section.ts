import type { Html } from "./html.js";

/** A part of the page with its entry in the contents. */
export interface Section {
  /** Unique in the page. */
  readonly id: string;
  readonly title: string;
  readonly body: Html;
}

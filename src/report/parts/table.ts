import { type Child, Html, html } from "./html.js";

export interface Column<Row> {
  readonly name: string;
  /** What is shown. */
  readonly cell: (row: Row) => Child;
  /** A number to sort by; the column is set to the right. */
  readonly number?: ((row: Row) => number | undefined) | undefined;
}

export interface Table<Row> {
  /** Said to screen readers, and shown where it stands alone. */
  readonly caption: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  /** A row that stands out, such as the original's. */
  readonly strong?: (row: Row) => boolean;
}

/** A table that scrolls by itself where it is wider than the screen. The first column names the row. */
export function table<Row>({ caption, columns, rows, strong }: Table<Row>): Html {
  const head = columns.map(({ name, number }) => html`<th scope="col"${number && NUMBER}>${name}</th>`);
  const body = rows.map((row) => {
    const cells = columns.map(({ cell, number }, i) => {
      const key = number?.(row);
      const attributes = html`${number && NUMBER}${key === undefined ? undefined : html` data-v="${rounded(key)}"`}`;
      return i === 0 ? html`<th scope="row"${attributes}>${cell(row)}</th>` : html`<td${attributes}>${cell(row)}</td>`;
    });
    return html`<tr${strong?.(row) ? STRONG : undefined}>${cells}</tr>\n`;
  });
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${caption}"><table><caption><span>${caption}</span></caption>
<thead><tr>${head}</tr></thead>
<tbody>
${body}</tbody></table></div>`;
}

const NUMBER = new Html(' class="number"');
const STRONG = new Html(' class="strong"');

function rounded(value: number): number {
  return Number(value.toPrecision(6));
}

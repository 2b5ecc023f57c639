import { formatBytes, formatDuration } from "../../format.js";
import type { CompressionReport, SizeChange } from "../data.js";
import { type Html, html } from "../parts/html.js";
import { fixed, signed } from "../parts/numbers.js";
import type { Section } from "../parts/section.js";
import { table } from "../parts/table.js";
import { tile } from "./head.js";

/** What was made, how large it is, and what it lost. */
export function compressionHead(data: CompressionReport): Html {
  const { experts, evaluation, sizes, topK } = data;
  const size = sizes.find(({ unit }) => unit === "bytes");
  const [before, after] = [evaluation?.original.avg, evaluation?.compressed.avg];
  const uses = topK === undefined ? "" : ` Each token still uses ${topK} of them.`;
  const took = data.seconds === undefined ? "" : ` It took ${formatDuration(data.seconds)}.`;
  const memory =
    data.memoryBytes === undefined ? "" : ` At most ${formatBytes(data.memoryBytes)} of memory were in use.`;
  return html`<dl class="tiles">${tile("Experts of each layer", `${experts.before}\u00a0→\u00a0${experts.after}`, data.method)}${
    size && tile(size.name, formatBytes(size.after), `${formatBytes(size.before)} before`)
  }${after === undefined ? undefined : tile("AVG", fixed(after), before === undefined ? "" : `${signed(after - before)} points against ${fixed(before)}`)}</dl>
<div class="summary"><p>${data.model} was compressed from ${experts.before} to ${experts.after} experts in ${data.layers.length} layers by the method
${data.method}.${uses}${took}${memory}</p></div>`;
}

/** `235.1B` */
const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 4 });

export function sizeSection({ sizes }: CompressionReport): Section | undefined {
  if (sizes.length === 0) return undefined;
  const write = (value: number, { unit }: SizeChange) => (unit === "bytes" ? formatBytes(value) : short.format(value));
  const share = ({ before, after }: SizeChange) => (before === 0 ? undefined : 100 * (after / before - 1));
  return {
    id: "sizes",
    title: "Sizes",
    body: html`<div class="panel">${table<SizeChange>({
      caption: "Sizes before and after",
      columns: [
        { name: "", cell: ({ name }) => name },
        { name: "before", cell: (size) => write(size.before, size), number: ({ before }) => before },
        { name: "after", cell: (size) => write(size.after, size), number: ({ after }) => after },
        { name: "change, %", cell: (size) => signed(share(size)), number: share },
      ],
      rows: sizes,
    })}</div>`,
  };
}

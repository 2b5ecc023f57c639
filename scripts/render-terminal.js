#!/usr/bin/env node
// Draws terminal output, with its ANSI styles, as an SVG: node scripts/render-terminal.js "ream demo" < output > picture.svg

const FONT_SIZE = 13;
const ADVANCE = FONT_SIZE * 0.6;
const LINE = 19;
const PADDING = 18;
const BAR = 30;
const COLOURS = { background: "#16181d", text: "#d7dae0", dim: "#8a919e", bold: "#ffffff", prompt: "#7fd4a8" };

const escapeXml = (text) => text.replace(/[&<>]/g, (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[sign]);

/** Splits a line at its styles: 0 = plain, 1 = bold, 2 = dim. Other sequences are left out. */
function spans(line) {
  const found = [];
  let style = 0;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: ANSI sequences begin with one
  for (const part of line.split(/(\u001b\[[0-9;?]*[A-Za-z])/)) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: as above
    const code = /^\u001b\[(\d*)m$/.exec(part);
    if (code !== null) style = Number(code[1] || 0);
    else if (part !== "" && !part.startsWith("\u001b")) found.push({ style, text: part });
  }
  return found;
}

function draw(command, output) {
  const lines = [`$ ${command}`, ...output.replace(/\n+$/, "").split("\n")];
  const columns = Math.max(...lines.map((line) => spans(line).reduce((sum, { text }) => sum + text.length, 0)));
  const width = Math.ceil(columns * ADVANCE + 2 * PADDING);
  const height = BAR + lines.length * LINE + PADDING;
  const rows = lines.map((line, row) => {
    let column = 0;
    const texts = spans(line).map(({ style, text }) => {
      const fill = row === 0 ? COLOURS.prompt : ([COLOURS.text, COLOURS.bold, COLOURS.dim][style] ?? COLOURS.text);
      const weight = style === 1 ? ' font-weight="bold"' : "";
      // textLength keeps columns in line where the reader's fixed-width font is wider or narrower.
      const size = `x="${(PADDING + column * ADVANCE).toFixed(1)}" textLength="${(text.length * ADVANCE).toFixed(1)}"`;
      column += text.length;
      return `<tspan ${size} fill="${fill}"${weight}>${escapeXml(text)}</tspan>`;
    });
    return `<text y="${BAR + (row + 0.75) * LINE}">${texts.join("")}</text>`;
  });
  const dots = [0, 1, 2].map((dot) => `<circle cx="${PADDING + 6 + dot * 18}" cy="17" r="5" fill="#3a3f4b"/>`);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="Output of ${escapeXml(command)}">`,
    `<rect width="${width}" height="${height}" rx="8" fill="${COLOURS.background}"/>`,
    ...dots,
    `<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="${FONT_SIZE}" xml:space="preserve" style="white-space: pre">`,
    ...rows,
    "</g>",
    "</svg>",
    "",
  ].join("\n");
}

let output = "";
for await (const chunk of process.stdin.setEncoding("utf8")) output += chunk;
process.stdout.write(draw(process.argv[2] ?? "", output));

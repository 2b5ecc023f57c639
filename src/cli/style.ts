/** Writes ANSI styles where the stream shows them: NO_COLOR, FORCE_COLOR and pipes are respected. */
export interface Style {
  bold(text: string): string;
  dim(text: string): string;
}

export function styleFor(stream: NodeJS.WriteStream, environment: NodeJS.ProcessEnv = process.env): Style {
  const forced = environment.FORCE_COLOR;
  const on = environment.NO_COLOR
    ? false
    : forced !== undefined
      ? forced !== "0"
      : stream.isTTY === true && environment.TERM !== "dumb";
  const paint = (code: number) => (text: string) => (on ? `\u001b[${code}m${text}\u001b[0m` : text);
  return { bold: paint(1), dim: paint(2) };
}

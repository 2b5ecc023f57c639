/** One record of a source and the place that it came from, as `file:line` or `file row N`. */
export interface SourceRecord {
  readonly value: Readonly<Record<string, unknown>>;
  readonly where: string;
}

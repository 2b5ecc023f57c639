const UNITS = ["B", "kB", "MB", "GB", "TB"] as const;

/** Bytes in decimal units with three digits: `61.1 GB`. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

/** Seconds as `48 s`, `3 min 20 s`, `2 h 05 min`. */
export function formatDuration(seconds: number): string {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const pad = (value: number) => String(value).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${pad(whole % 60)} s`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)} h ${pad(minutes % 60)} min`;
}

/** A whole number with thousands separated: `1,572,864`. */
export function formatCount(value: number): string {
  return Math.round(value).toLocaleString("en");
}

/** Parameters as people name models by them: `30.5 billion`; below a million all digits. */
export function formatParameters(value: number): string {
  const [unit, name] = value >= 999.5e9 ? [1e12, "trillion"] : value >= 999.5e6 ? [1e9, "billion"] : [1e6, "million"];
  return value < 1e6 ? formatCount(value) : `${Number((value / unit).toPrecision(3))} ${name}`;
}

/** A share from 0 to 1 as whole percent; 100 % only when nothing is left. */
export function formatShare(share: number): string {
  return `${Math.min(share < 1 ? 99 : 100, Math.round(share * 100))} %`;
}

/** Rows in columns: the first column to the left, the others to the right, two spaces between. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const columns = Math.max(...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? "").length)),
  );
  const lines = rows.map((row) => {
    const cells = row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)));
    return cells.join("  ").trimEnd();
  });
  return lines.join("\n");
}

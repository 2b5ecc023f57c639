import { asyncBufferFromFile, type FileMetaData, parquetMetadataAsync, parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { ReamError } from "../../errors.js";
import type { SourceRecord } from "./record.js";

/** Largest decompressed size of the needed columns of one row group, in bytes. */
const MAX_ROW_GROUP = 2 ** 30;

function parquetError(path: string, cause: unknown): ReamError {
  if (cause instanceof ReamError) return cause;
  return new ReamError("CALIBRATION_PARQUET", `The Parquet file cannot be read (${(cause as Error).message}).`, {
    where: path,
    hint: "It may be damaged or cut off: get it again.",
    cause,
  });
}

/** Names of the top-level columns. */
function columnsOf(metadata: FileMetaData): string[] {
  const names: string[] = [];
  // The schema is a flattened tree: skip the descendants of each top-level element.
  for (let index = 1; index < metadata.schema.length; ) {
    names.push(metadata.schema[index]!.name);
    let open = 1;
    for (; open > 0 && index < metadata.schema.length; index++) open += (metadata.schema[index]!.num_children ?? 0) - 1;
  }
  return names;
}

/** Rows of a Parquet file, one row group at a time. `columns`: those to decode, as far as the file has them. */
export async function* readParquet(path: string, columns: readonly string[]): AsyncGenerator<SourceRecord> {
  try {
    const file = await asyncBufferFromFile(path);
    const metadata = await parquetMetadataAsync(file);
    const present = columnsOf(metadata);
    const wanted = present.filter((name) => columns.includes(name));
    if (wanted.length === 0) {
      throw new ReamError("CALIBRATION_FIELD", `No column is known to hold text; the file has ${present.join(", ")}.`, {
        where: path,
        hint: "Name the column with --field DOMAIN=FIELD.",
      });
    }
    let rowStart = 0;
    for (const group of metadata.row_groups) {
      const bytes = group.columns
        .filter((column) => wanted.includes(column.meta_data?.path_in_schema[0] ?? ""))
        .reduce((sum, column) => sum + Number(column.meta_data?.total_uncompressed_size ?? 0), 0);
      if (bytes > MAX_ROW_GROUP) {
        throw new ReamError("CALIBRATION_PARQUET", `A row group has ${bytes} bytes of text; at most 1 GiB is read.`, {
          where: path,
          hint: "Write the file with smaller row groups.",
        });
      }
      const rowEnd = rowStart + Number(group.num_rows);
      const rows = await parquetReadObjects({ file, metadata, compressors, columns: wanted, rowStart, rowEnd });
      for (const [index, value] of rows.entries()) yield { value, where: `${path} row ${rowStart + index + 1}` };
      rowStart = rowEnd;
    }
  } catch (cause) {
    throw parquetError(path, cause);
  }
}

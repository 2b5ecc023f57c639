import { resolve } from "node:path";
import { ReamError } from "../errors.js";
import type { Study } from "../study/study-file.js";

/** The folder of a study: that of the command line, else that of its file. Errors: OPTION_MISSING. */
export function studyFolder(file: string, study: Pick<Study, "out">, out: string | undefined): string {
  const folder = out ?? study.out;
  if (folder !== undefined) return resolve(folder);
  throw new ReamError("OPTION_MISSING", "no folder was given for the study", {
    where: file,
    hint: "Give --out DIR, or out: in the file.",
  });
}

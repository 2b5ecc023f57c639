import { homedir } from "node:os";
import { join } from "node:path";
import { ReamError } from "../../errors.js";
import { sha256 } from "../../sha256.js";

/** Where in an object store the files of a study or observation lie. */
export interface StoreAddress {
  readonly bucket: string;
  /** What all keys begin with: empty, or with a slash at its end. */
  readonly prefix: string;
  /** As a person writes it, without a slash at its end. */
  readonly url: string;
}

/** Reads s3://bucket/prefix. Errors: STORE_URL. */
export function parseStoreAddress(text: string): StoreAddress {
  const [, bucket, path = ""] = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/+(.*))?$/s.exec(text) ?? [];
  if (bucket === undefined) {
    throw new ReamError("STORE_URL", "that is no address in an S3-compatible store", {
      where: "--store",
      hint: "As in s3://bucket/studies/mine. Endpoint and keys come from AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and so on.",
    });
  }
  const prefix = path.replace(/\/+$/, "");
  return prefix === ""
    ? { bucket, prefix: "", url: `s3://${bucket}` }
    : { bucket, prefix: `${prefix}/`, url: `s3://${bucket}/${prefix}` };
}

/** The folder of a worker to which none was given: below XDG_CACHE_HOME or ~/.cache, one for each store. */
export function cacheFolder({ url }: StoreAddress): string {
  const caches = process.env.XDG_CACHE_HOME?.trim() || join(homedir(), ".cache");
  return join(caches, "ream", "stores", sha256(url).slice(0, 16));
}

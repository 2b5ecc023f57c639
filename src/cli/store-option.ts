import { Option } from "commander";

/** `--store`, of every command whose work several machines do. */
export function storeOption(): Option {
  return new Option(
    "--store <url>",
    "where machines without a common folder put what they made: s3://bucket/prefix; AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and so on are heeded",
  );
}

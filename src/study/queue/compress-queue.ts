import type { CompressOptions } from "../../pipeline/options.js";
import { partLabel } from "../../pipeline/split/part.js";
import type { CompressElsewhere } from "../../pipeline/split/split.js";
import { SharedFolder } from "../store/store.js";
import { doOrders, type OrderContext } from "./do-orders.js";

/**
 * Has the layers of a compression planned and its files written by workers. Errors: QUEUE_URL, QUEUE_UNREACHABLE, and
 * COMPRESS_PARTS where some came to nothing; the others are kept.
 */
export function compressOnQueue(
  url: string,
  options: CompressOptions,
  context: Pick<OrderContext<never>, "signal" | "onEvent">,
): CompressElsewhere {
  return async (folder, identity, parts, onMade) => {
    if (parts.length === 0) return;
    const orders = parts.map((part) => ({
      work: { kind: "part" as const, options, identity, part },
      label: partLabel(part),
      part,
    }));
    await doOrders(url, new SharedFolder(folder), orders, {
      ...context,
      ...{ code: "COMPRESS_PARTS", failed: "parts were not made" },
      onDone: ({ part }) => onMade(part),
    });
  };
}

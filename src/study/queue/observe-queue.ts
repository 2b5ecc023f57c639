import type { ObserveElsewhere } from "../../observe/observe.js";
import type { ObserveOptions } from "../../observe/options.js";
import { openStore } from "../store/store.js";
import { doOrders, type OrderContext } from "./do-orders.js";

/**
 * Has the units of an observation observed by workers, all layers of a unit by one. Errors: QUEUE_URL, QUEUE_UNREACHABLE,
 * those of the store, and OBSERVE_UNITS where some came to nothing; the others are kept.
 * @param place s3://bucket/prefix; undefined: the workers see the folder
 */
export function observeOnQueue(
  url: string,
  place: string | undefined,
  options: ObserveOptions,
  context: Pick<OrderContext<never>, "signal" | "onEvent">,
): ObserveElsewhere {
  return async (folder, units) => {
    const store = await openStore(place, folder, context.signal);
    const orders = units.map((unit) => ({
      work: { kind: "unit" as const, options, unit },
      label: `${unit.domain} ${unit.begin}-${unit.end}`,
    }));
    try {
      await doOrders(url, store, orders, {
        ...context,
        ...{ code: "OBSERVE_UNITS", failed: "units were not observed" },
        onOpen: () => store.offerObservation(options.restart ?? false),
        onDone: ({ work }) => store.fetchUnit(work.unit),
      });
    } finally {
      store.close();
    }
  };
}

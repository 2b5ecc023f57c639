import type { ObserveElsewhere } from "../../observe/observe.js";
import type { ObserveOptions } from "../../observe/options.js";
import { doOrders, type OrderContext } from "./do-orders.js";

/**
 * Has the units of an observation observed by workers, all layers of a unit by one. Errors: QUEUE_URL, QUEUE_UNREACHABLE,
 * and OBSERVE_UNITS where some came to nothing; the others are kept.
 */
export function observeOnQueue(
  url: string,
  options: ObserveOptions,
  context: Pick<OrderContext<never>, "signal" | "onEvent">,
): ObserveElsewhere {
  return (folder, units) => {
    const orders = units.map((unit) => ({
      work: { kind: "unit" as const, options, unit },
      label: `${unit.domain} ${unit.begin}-${unit.end}`,
    }));
    return doOrders(url, folder, orders, { ...context, code: "OBSERVE_UNITS", failed: "units were not observed" });
  };
}

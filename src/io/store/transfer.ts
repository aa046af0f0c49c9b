/**
 * What the transfers of whole control planes have in common, whichever store they go to.
 */
import { Fault } from "../../model/fault.ts";

/** Nothing is written over a cluster's state by mistake. */
export function notEmpty(where: string): Fault {
  return new Fault(
    "bad-request",
    `${where} holds a cluster's state already; give --replace to lose that, after an export of it`,
    { where },
  );
}

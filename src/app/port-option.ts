/**
 * A port on the command line: what agents and masters take for their gossip.
 */
import { InvalidArgumentError } from "commander";

/** @throws InvalidArgumentError, which commander turns into a usage error */
export function parsePort(text: string): number {
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port <= 65_535) return port;
  throw new InvalidArgumentError("a port is a number from 0 to 65535, such as 62501.");
}

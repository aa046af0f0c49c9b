/**
 * Errors of two of the three kinds (docs/decisions/0003-errors.md); the third, "the world failed", is a value.
 *
 * A `Fault` is a refused request: its message names the object and the fact, and says what to do. It is turned into an
 * HTTP status, a CNI code or an exit status by one table at the edge. `assert` guards what must hold; when it does not,
 * that is our bug, and the process ends so that state is read again from where it is durable.
 */

export type FaultCode =
  | "address-taken" // an address or a MAC that is asked for is another container's
  | "bad-config" // a configuration that cannot be served
  | "bad-request" // a malformed call: the caller must change it
  | "bad-environment" // CNI: a variable that is missing or wrong
  | "undecodable" // CNI: the configuration is no JSON object
  | "bad-netns" // the path is no network namespace
  | "check-failed" // CNI CHECK: what is there is not what ADD made
  | "corrupt-store" // a database that cannot be read
  | "delegate-failed" // another CNI plugin that Weft was told to ask refused or broke
  | "engine-failed" // a container engine refused, or answered what nobody understands
  | "exhausted" // no free address, subnet or VTEP
  | "forbidden" // the caller may not do this here
  | "identity-taken" // two live agents with one identity
  | "in-use" // what is to be removed or changed is used
  | "interface-exists" // ADD for an interface that is there
  | "kernel-lacks" // a feature that this kernel does not have
  | "kernel-refused" // a kernel call that failed
  | "network-failed" // a network does not work on this host: containers that are attached to it are hurt too
  | "not-admitted" // who calls is no member of this cluster, and nothing that counts vouches for it
  | "no-rights" // CAP_NET_ADMIN or a file permission is missing
  | "not-leader" // another master leads: nothing was written
  | "not-ready" // try again later: no assignment yet, master away
  | "port-taken" // the listening address is in use
  | "storage" // disk full, read-only, input/output error
  | "unauthorized" // the call does not prove who makes it, or the answer does not
  | "unknown-agent"
  | "unknown-container"
  | "unknown-network"
  | "unsupported-version";

/** Values that belong to the message, for scripts: they are served as JSON beside it. */
export type FaultFacts = Readonly<Record<string, string | number | boolean | readonly string[]>>;

/** A refused request. `message` is one or two sentences: the object, the fact, the remedy. */
export class Fault extends Error {
  readonly code: FaultCode;
  readonly facts: FaultFacts;

  constructor(code: FaultCode, message: string, facts: FaultFacts = {}, options?: ErrorOptions) {
    super(message, options);
    this.name = "Fault";
    this.code = code;
    this.facts = facts;
  }
}

/** Ends the process (as an uncaught error) when `condition` does not hold. `what` states what must hold. */
export function assert(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${what}`);
}

/** The text of anything that was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

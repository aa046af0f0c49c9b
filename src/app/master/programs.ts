/**
 * What agents of another version mean to a cluster: which ones are refused, and what of the things that the cluster is
 * asked to enforce an agent's program does not know. Such an agent lets pass what others drop, so an operator must see it.
 * Not stored: each agent tells it anew to a master that begins.
 */
import type { Log } from "../../io/log.ts";
import type { RegisterRequest } from "../../io/ports.ts";
import { Fault } from "../../model/fault.ts";
import type { ClusterConfig, Overlay } from "../../model/network.ts";
import type { PolicyBook } from "../../model/policy.ts";
import { type AgentFeature, type AgentProgram, areTooFarApart, programText } from "../../model/version.ts";

export interface ProgramsDeps {
  /** This master's. */
  readonly version: string;
  readonly log: Log;
  /** In force now. */
  readonly config: () => ClusterConfig;
  readonly policies: Pick<PolicyBook, "list">;
}

/** Of one that has not registered with this master yet nothing is said. */
export interface ProgramView {
  readonly version?: string;
  /** What its program does not enforce of what is asked of it; never empty. */
  readonly lacks?: string[];
}

export class Programs {
  readonly #deps: ProgramsDeps;
  readonly #byAgent = new Map<string, AgentProgram>();

  constructor(deps: ProgramsDeps) {
    this.#deps = deps;
  }

  /** @throws Fault unsupported-version */
  requireNear(request: RegisterRequest): void {
    const { version } = this.#deps;
    if (!areTooFarApart(request.version, version)) return;
    throw new Fault(
      "unsupported-version",
      `agent ${request.agentId} (${request.ip}) is ${programText(request)}, this master is weft ${version}; at most one ` +
        "version apart work together: upgrade by way of those between",
      { agent: request.agentId, version: request.version ?? "", master: version },
    );
  }

  registered({ agentId, ip, version, features }: RegisterRequest): void {
    this.#byAgent.set(agentId, { version, features });
    const { lacks } = this.viewOf(agentId);
    if (lacks !== undefined)
      this.#deps.log.warn({ agent: agentId, ip, version, lacks }, "agent does not enforce all that it is asked for");
  }

  viewOf(agentId: string): ProgramView {
    const program = this.#byAgent.get(agentId);
    if (program === undefined) return {};
    const lacks = lacksOf(program, this.#deps.config(), this.#deps.policies.list().length > 0);
    return { ...(program.version !== undefined && { version: program.version }), ...(lacks.length > 0 && { lacks }) };
  }

  forget(agentId: string): void {
    this.#byAgent.delete(agentId);
  }
}

/** Each as it stands behind "does not enforce". */
function lacksOf({ features = [] }: AgentProgram, { network }: ClusterConfig, hasPolicies: boolean): string[] {
  const asked: readonly (readonly [AgentFeature, string | undefined])[] = [
    ["isolation", named("isolation and egress of", network.overlays.filter(isKeptApart))],
    ["policies", hasPolicies ? "policies" : undefined],
    ["elastic", named("draining of", network.overlays.filter(isDraining))],
  ];
  return asked.flatMap(([feature, what]) => (what === undefined || features.includes(feature) ? [] : [what]));
}

function isKeptApart({ isolation, egress }: Overlay): boolean {
  return isolation !== undefined || egress !== undefined;
}

function isDraining({ phase, draining, more = [] }: Overlay): boolean {
  return phase !== undefined || draining === true || more.some((space) => space.draining === true);
}

function named(what: string, overlays: readonly Overlay[]): string | undefined {
  return overlays.length === 0 ? undefined : `${what} ${overlays.map(({ name }) => name).join(", ")}`;
}

/**
 * POST /v1/netavark on the agent's Unix socket: where the executable hands over a call of netavark or Podman
 * (docs/decisions/0038). `setup` and `teardown` are ADD and DEL of the same attach service, so what holds for CNI holds
 * here: what is durable when, what is taken back, and that the same call sent again gets the same answer.
 */
import type { AddResult } from "../../core/cni/reply.ts";
import { NEWEST_CNI_VERSION } from "../../core/cni/version.ts";
import { containerHalves } from "../../core/ipam/lease.ts";
import { type ContainerCall, decodeNetavarkCall, type NetavarkCall, RUNTIME } from "../../core/netavark/call.ts";
import { createdNetwork } from "../../core/netavark/create.ts";
import type { AskedNetwork } from "../../core/netavark/network.ts";
import {
  type NetavarkReply,
  netavarkBugReply,
  networkReply,
  refusal,
  statusReply,
  TORN_DOWN,
} from "../../core/netavark/reply.ts";
import type { DirectCall } from "../../io/http-server.ts";
import type { Log } from "../../io/log.ts";
import type { Assignment } from "../../model/cluster.ts";
import { Fault, messageOf } from "../../model/fault.ts";
import { CNI_CALL_MAX_BYTES } from "../../model/limits.ts";
import type { DelCall } from "./attach-service.ts";
import type { AddCall } from "./attacher.ts";

export const NETAVARK_PATH = "/v1/netavark";

/** What carries out calls. */
export interface NetavarkService {
  assignment(): Assignment | undefined;
  attach(call: AddCall): Promise<AddResult>;
  detach(call: DelCall): Promise<void>;
}

export interface NetavarkHost {
  isStarted(): boolean;
  readonly agent: NetavarkService;
  readonly socketPath: string;
  readonly log: Log;
  /** Told of what was thrown and is no fault; the caller gets an error all the same. */
  onBug(thrown: unknown): void;
}

export function netavarkEndpoint(host: NetavarkHost): DirectCall {
  return {
    path: NETAVARK_PATH,
    maxBytes: CNI_CALL_MAX_BYTES,
    async answer(body) {
      try {
        return await carryOut(decodeNetavarkCall(body), host);
      } catch (thrown) {
        if (thrown instanceof Fault) {
          host.log.warn({ code: thrown.code }, `netavark: ${thrown.message}`);
          return refusal(thrown);
        }
        host.onBug(thrown);
        return netavarkBugReply(messageOf(thrown));
      }
    },
  };
}

async function carryOut(call: NetavarkCall, host: NetavarkHost): Promise<NetavarkReply> {
  if (!host.isStarted()) throw new Fault("not-ready", "the weft agent of this host is starting; try again in a moment");
  switch (call.command) {
    case "create":
      return networkReply(create(call.asked, host));
    case "setup": {
      const { wishes, task } = call;
      const { container, ips } = await host.agent.attach({ command: "ADD", ...attachment(call), wishes, task });
      return statusReply({ ...container, ips });
    }
    case "teardown":
      await host.agent.detach({ command: "DEL", ...attachment(call) });
      return TORN_DOWN;
  }
}

/** @throws Fault not-ready, unknown-network, forbidden, bad-request */
function create(asked: AskedNetwork, { agent, socketPath }: NetavarkHost) {
  const { network } = asked;
  const assignment = agent.assignment();
  if (assignment === undefined)
    throw new Fault("not-ready", "this agent has no networks yet; it is waiting for its master, try again later");
  containerHalves(assignment, network); // refuses a network that takes no containers here
  const overlay = assignment.agent.overlays.find(({ info }) => info.name === network);
  if (overlay === undefined)
    throw new Fault("unknown-network", `agent ${assignment.agent.ip} knows no network ${network}`);
  return createdNetwork(asked, { overlay, enableIpv6: assignment.enableIpv6, socketPath });
}

/** The attachment that is meant, as the attach service speaks of it. */
function attachment({ name, network, containerId, ifname, netns, requestId }: ContainerCall) {
  const config = { cniVersion: NEWEST_CNI_VERSION, name, network, dns: {}, json: {} };
  const plugin = "weft-cni" as const;
  return { config, plugin, cniPath: [], containerId, ifname, netns, requestId, runtime: RUNTIME, args: "" };
}

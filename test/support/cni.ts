/**
 * CNI calls as a runtime makes them, for tests of everything that reads one.
 */

/** The frame in which the executable hands a call to the agent. */
export function cniBody(environment: Readonly<Record<string, string | undefined>>, stdin: unknown): Uint8Array {
  const lines = Object.entries(environment).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${value}\0`],
  );
  const text = typeof stdin === "string" ? stdin : JSON.stringify(stdin);
  return Buffer.from(`${lines.join("")}\0${text}`);
}

export interface TestCall {
  readonly command: string;
  readonly containerId: string;
  readonly netns?: string;
  readonly network?: string;
  readonly ifname?: string;
  readonly cniVersion?: string;
  readonly requestId?: string;
  readonly prevResult?: unknown;
  /** Further variables, `CNI_ARGS` for one. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Further keys of the network configuration, `runtimeConfig` for one. */
  readonly config?: Readonly<Record<string, unknown>>;
}

/** The frame of a well-formed call. */
export function callBody(call: TestCall): Uint8Array {
  const { cniVersion = "1.1.0", network = "dcos", prevResult } = call;
  return cniBody(
    {
      CNI_COMMAND: call.command,
      CNI_CONTAINERID: call.containerId,
      CNI_IFNAME: call.ifname ?? "eth0",
      CNI_NETNS: call.netns,
      CNI_WEFT_REQUEST_ID: call.requestId,
      ...call.environment,
    },
    { cniVersion, name: network, type: "weft-cni", network, prevResult, ...call.config },
  );
}

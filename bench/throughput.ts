/**
 * How many bits a second one TCP stream carries between two namespaces, with iperf3: sender and receiver on a processor
 * each, as it is on two hosts.
 */
import { inNamespace, LAST_CPU, serve } from "./request-rate.ts";

const PORT = 5201;

/** Gbit/s, from the first namespace to the second, which has this address. */
export async function throughput(
  [client, server]: readonly [string, string],
  address: string,
  seconds: number,
): Promise<number> {
  const stop = await serve(server, LAST_CPU, ["iperf3", "-s"], PORT);
  try {
    const output = inNamespace(client, "0", ["iperf3", "-J", "-c", address, "-t", String(seconds)]);
    const { end } = JSON.parse(output) as { end: { sum_received: { bits_per_second: number } } };
    return end.sum_received.bits_per_second / 1e9;
  } finally {
    await stop();
  }
}

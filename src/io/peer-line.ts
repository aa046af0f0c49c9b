/**
 * One line of the peer stream → an update, and complaints about what in it is not as it must be. A bad peer in a snapshot
 * is left out and hides no other: one node that is described wrongly must not cut off all.
 */
import { z } from "zod";
import type { Peer } from "../model/cluster.ts";
import { issuesOf, peerSchema } from "../model/schemas.ts";
import { parseJson } from "./master-call.ts";
import { peerUpdateSchema } from "./messages.ts";
import type { PeerUpdate } from "./ports.ts";

export interface DecodedLine {
  readonly update?: PeerUpdate;
  readonly complaints: readonly string[];
}

const snapshotSchema = z.object({ type: z.literal("snapshot"), peers: z.array(z.unknown()) });

export function decodePeerLine(line: string): DecodedLine {
  const json = parseJson(line);
  if (json === undefined) return { complaints: ["a line is no JSON"] };
  const snapshot = snapshotSchema.safeParse(json);
  if (snapshot.success) return decodePeers(snapshot.data.peers);
  const { success, data, error } = peerUpdateSchema.safeParse(json);
  if (success) return { update: data, complaints: [] };
  return { complaints: [complaint((json as { peer?: unknown } | null)?.peer, error)] };
}

function decodePeers(values: readonly unknown[]): DecodedLine {
  const peers: Peer[] = [];
  const complaints: string[] = [];
  for (const value of values) {
    const { success, data, error } = peerSchema.safeParse(value);
    if (success) peers.push(data);
    else complaints.push(complaint(value, error));
  }
  return { update: { type: "snapshot", peers }, complaints };
}

function complaint(peer: unknown, error: z.ZodError): string {
  const id = (peer as { id?: unknown } | null | undefined)?.id;
  const who = typeof id === "string" ? `peer ${id.slice(0, 64)}` : "a line or peer without id";
  return `${who}: ${issuesOf(error).slice(0, 3).join("; ")}`;
}

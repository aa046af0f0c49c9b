/**
 * Records what this program says: `node test/recorded/record-messages.ts FOLDER` writes `messages.json` there. Only for the
 * folder of a version that is about to be released; what is recorded of a released one is never changed.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import {
  admissionJson,
  admissionSchema,
  challengeSchema,
  registerRequestSchema,
  sealedAnswerSchema,
  statusReportSchema,
} from "../../src/io/messages.ts";
import { cidr } from "../../src/model/ip.ts";
import { reportAnswerSchema } from "../../src/model/schemas.ts";
import { AGENT_FEATURES } from "../../src/model/version.ts";
import { MasterRig, request } from "../support/master-rig.ts";
import { writtenDatagram, writtenGossip, writtenProof, writtenWords } from "./written.ts";

/** As JSON Schema: what a program of this version asks of what it is sent. */
function shapeOf(schema: z.ZodType): unknown {
  return z.toJSONSchema(schema, { io: "input", unrepresentable: "any" });
}

/** Everything that a configuration can say and agents are told. */
const CONFIG = `
dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_subnet6: fd01:a::/64
  vtep_mac_oui: 70:B3:D5:00:00:00
  vtep_mtu: 1400
  overlays:
    - name: dcos
      subnet: 9.0.0.0/8
      prefix: 24
      more: [{ subnet: 10.64.0.0/16, prefix: 25 }]
      isolation: { allow: [dcos6] }
    - { name: dcos6, subnet6: "fd01:b::/64", prefix6: 80, egress: none, strict_halves: true }
    - { name: away, subnet: 10.65.0.0/16, prefix: 24, isolation: closed, egress: routed }`;
const PROGRAM = { version: "0.2.0", features: AGENT_FEATURES };
const USAGE = {
  half: cidr("9.0.0.0/25"),
  slice: cidr("9.0.0.0/24"),
  runtime: "cni",
  used: 2,
  resting: 1,
  free: 122,
  idle: true,
};
const FULL = { containers: 2, usage: [USAGE], exhausted: { runtime: "podman" } };
const POLICY = {
  name: "db",
  network: "dcos",
  from: { app: "web" },
  to: { app: "db" },
  ports: [{ protocol: "tcp", first: 5_432, last: 5_433 }],
} as const;

const rig = new MasterRig(CONFIG);
rig.cluster.policies.put(POLICY, "operator");
const registerRequest = request(1, PROGRAM);
const admission = await rig.admission(registerRequest);
const { agentId, instanceId } = registerRequest;
const failed = { name: "dcos6", status: "STATUS_FAILED", error: "no route" };
const statusReport = { agentId, instanceId, overlays: [{ name: "dcos", status: "STATUS_OK", ...FULL }, failed] };
const answered = await rig.callAs(agentId, "POST", `/v1/agents/${agentId}/status`, statusReport);
const statusAnswer = await answered.text();
const challenge = await (await rig.call("POST", "/v1/challenge")).json();
writeFileSync(
  join(process.argv[2] ?? ".", "messages.json"),
  `${JSON.stringify(
    {
      http: {
        registerRequest,
        admission: JSON.parse(admissionJson(admission)),
        statusReport,
        statusAnswer,
        challenge,
        proof: writtenProof(),
      },
      shapes: {
        registerRequest: shapeOf(registerRequestSchema),
        admission: shapeOf(admissionSchema),
        statusReport: shapeOf(statusReportSchema),
        statusAnswer: shapeOf(reportAnswerSchema),
        challenge: shapeOf(challengeSchema),
        sealedAnswer: shapeOf(sealedAnswerSchema),
      },
      words: writtenWords(),
      gossip: writtenGossip(),
      datagram: writtenDatagram(),
    },
    undefined,
    2,
  )}\n`,
);

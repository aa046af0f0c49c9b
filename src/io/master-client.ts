/**
 * An agent's calls to its master over HTTP, each signed by the agent's identity key. Several masters may be named; each
 * call goes to the one that answered last, and to the others in turn when that one cannot be reached, is not ready, is
 * no master, or is not to be trusted.
 *
 * What a master refuses is final: the fault goes to the caller as it came. Only when nobody answered is it `not-ready`,
 * or `unauthorized` where somebody did and was not to be trusted, with the reason for each address.
 */
import { Fault } from "../model/fault.ts";
import { reportAnswerSchema } from "../model/schemas.ts";
import type { Call } from "../model/trust/call-proof.ts";
import type { Signer } from "../model/trust/member.ts";
import type { Membership } from "../model/trust/membership.ts";
import type { Token } from "../model/trust/token.ts";
import { openAdmission } from "./admission-answer.ts";
import { SYSTEM_CLOCK } from "./clock.ts";
import { newAgreement } from "./crypto/keys.ts";
import { type MasterAddress, parseMasterAddress, type TlsClient } from "./master-call.ts";
import { Distrusted, post, proven, Unanswered } from "./master-exchange.ts";
import { claimsSchema } from "./messages.ts";
import type { Admission, Clock, MasterClient, RegisterRequest } from "./ports.ts";

/** Who an agent is, and whom it trusts. */
export interface AgentCredentials {
  readonly signer: Signer;
  /** What the cluster made it; absent before it joined. */
  membership(): Membership | undefined;
  /** To join with; read anew for each registration. @throws Fault when there is a file and no token in it */
  joinToken(): Token | undefined;
}

export interface HttpMasterClient extends MasterClient {
  /** The URL, as it was given, of the master that answered last; the first one before any did. */
  current(): string;
  /** The same, as requests need it. */
  address(): MasterAddress;
  /** The headers that prove a call to that master. Rejects when it does not answer, or with the fault that it gives. */
  prove(method: string, path: string): Promise<Readonly<Record<string, string>>>;
}

export interface MasterClientOptions {
  readonly tls?: TlsClient;
  readonly clock?: Clock;
}

const NO_BODY = new Uint8Array();

/**
 * @param urls at least one, each as `parseMasterAddress` takes it
 * @throws Fault bad-request
 */
export function openMasterClient(
  urls: readonly string[],
  credentials: AgentCredentials,
  { tls, clock = SYSTEM_CLOCK }: MasterClientOptions = {},
): HttpMasterClient {
  const addresses = urls.map((url) => parseMasterAddress(url, tls));
  if (addresses.length === 0)
    throw new Fault("bad-request", "no master is named; give at least one, such as http://10.0.0.1:5050");
  const { signer } = credentials;
  let last = 0;

  async function firstAnswer<T>(ask: (address: MasterAddress) => Promise<T>): Promise<T> {
    const reasons: string[] = [];
    let isDistrusted = false;
    const first = last;
    for (let n = 0; n < addresses.length; n += 1) {
      const index = (first + n) % addresses.length;
      const address = addresses[index] as MasterAddress;
      try {
        const answer = await ask(address);
        last = index;
        return answer;
      } catch (thrown) {
        if (!(thrown instanceof Unanswered)) {
          last = index;
          throw thrown;
        }
        isDistrusted ||= thrown instanceof Distrusted;
        reasons.push(`${address.text}: ${thrown.message}`);
      }
    }
    const why = reasons.join("; ");
    if (isDistrusted) throw new Fault("unauthorized", `no master of this agent's cluster answers (${why})`, { urls });
    throw new Fault("not-ready", `no master answers (${why}); start one, or correct its address`, { urls });
  }

  /** A call that the agent signs. @param what the last part of the path */
  function askAs(what: string, body: { readonly agentId: string }): Promise<unknown> {
    const call = callOf(`/v1/agents/${encodeURIComponent(body.agentId)}/${what}`, body);
    return firstAnswer(async (address) => {
      const { headers } = await proven(address, call, { signer }, clock);
      return post(address, call, headers, clock);
    });
  }

  return {
    current: () => (addresses[last] as MasterAddress).text,
    address: () => addresses[last] as MasterAddress,
    prove: async (method, path) =>
      (await proven(addresses[last] as MasterAddress, { method, path, body: NO_BODY }, { signer }, clock)).headers,
    register: (request) => firstAnswer((address) => register(address, request, credentials, clock)),
    reportStatus: async (report) => {
      const answer = await askAs("status", report);
      // A master of a version before elastic subnets says nothing; what is not understood says nothing either.
      return reportAnswerSchema.safeParse(answer).data ?? { reassigned: false, exhausted: [] };
    },
    claim: async (request) => claimsSchema.safeParse(await askAs("claims", request)).data?.claims ?? [],
    addNetwork: async (request) => {
      await askAs("networks", request);
    },
  };
}

/** A member shows its token only when its key alone does not do: the master may have forgotten or removed it. */
async function register(
  address: MasterAddress,
  request: RegisterRequest,
  credentials: AgentCredentials,
  clock: Clock,
): Promise<Admission> {
  if (credentials.membership() === undefined) {
    const token = credentials.joinToken();
    if (token === undefined && !vouchesForItself(address))
      throw new Fault(
        "not-admitted",
        "this agent belongs to no cluster yet and has no join token; copy the file join-token from the master's data " +
          "directory and name it with --join-token-file",
      );
    return registerWith(address, request, credentials, token, clock);
  }
  try {
    return await registerWith(address, request, credentials, undefined, clock);
  } catch (thrown) {
    if (!(thrown instanceof Fault) || thrown.code !== "not-admitted") throw thrown;
    const token = tokenIfAny(credentials);
    if (token === undefined) throw thrown;
    return registerWith(address, request, credentials, token, clock);
  }
}

/** A member's token may be gone for good reason. */
function tokenIfAny({ joinToken }: AgentCredentials): Token | undefined {
  try {
    return joinToken();
  } catch (thrown) {
    if (thrown instanceof Fault) return undefined;
    throw thrown;
  }
}

async function registerWith(
  address: MasterAddress,
  request: RegisterRequest,
  credentials: AgentCredentials,
  token: Token | undefined,
  clock: Clock,
): Promise<Admission> {
  const { signer } = credentials;
  const agreement = newAgreement();
  const call = callOf("/v1/agents/register", request);
  const prover = { signer, ephemeral: agreement.publicKey, ...(token && { token }) };
  const registration = await proven(address, call, prover, clock);
  const answer = await post(address, call, registration.headers, clock);
  const clusterKey = credentials.membership()?.clusterKey;
  return openAdmission(answer, registration, { agentId: request.agentId, agreement, token, clusterKey });
}

/** A socket of this host, or a server whose certificate an authority of the operator's signed. */
function vouchesForItself({ where, isSecure, tls }: MasterAddress): boolean {
  return "socketPath" in where || (isSecure && tls?.ca !== undefined);
}

function callOf(path: string, body: unknown): Call {
  return { method: "POST", path, body: Buffer.from(JSON.stringify(body)) };
}

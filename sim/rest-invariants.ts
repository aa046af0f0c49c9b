/**
 * Invariants of rest: some time after the last fault all members know the same, it is the truth, nothing waits, the links
 * hold together, and what is published then reaches everybody soon and costs little.
 */
import { DEGREE_SLACK, degreeOf } from "../src/core/gossip/links.ts";
import { ALIVE, DEAD, LEFT } from "../src/core/gossip/messages.ts";
import { bucketOf } from "../src/core/gossip/roster.ts";
import { TIMING } from "../src/core/gossip/timing.ts";
import { hashMember, hashRecords } from "../src/core/gossip/version.ts";
import { living, type MakeInvariant, type Problem, type World } from "./invariants.ts";
import type { SimMember } from "./member.ts";
import { contentOf } from "./steady-invariants.ts";

function first<T>(things: Iterable<T>, problem: (thing: T) => Problem): Problem {
  for (const thing of things) {
    const found = problem(thing);
    if (found !== undefined) return found;
  }
  return undefined;
}

const allKnowTheSame: MakeInvariant = (world) => {
  const check = () => {
    const [one, ...others] = living(world);
    return first(others, (other) =>
      other.gossip?.root === one?.gossip?.root
        ? undefined
        : `${one?.name} and ${other.name} differ: ${difference(world, one as SimMember, other)}`,
    );
  };
  return { name: "I9 all that run know the same", atRest: check, restEnds: check };
};

function difference(world: World, one: SimMember, other: SimMember): string {
  const texts = [one, other].map(({ gossip }) =>
    [...world.fates.values()].map(({ member: { id, name } }) => {
      const [known, state] = [gossip?.member(id), gossip?.state(id)];
      const life = known && `${known.gen}/${known.inc}/${known.status}`;
      return `${name} ${life ?? "unknown"}, records ${state && `${state.gen}/${state.seq}`}`;
    }),
  );
  const [left, right] = texts as [string[], string[]];
  const at = left.findIndex((text, n) => text !== right[n]);
  return at < 0 ? "in nothing that can be seen" : `${left[at]} against ${right[at]}`;
}

/** A single one has neither the witnesses that a death needs nor a second accuser. */
const JURY = 2;

const viewsAreTrue: MakeInvariant = (world) => {
  const seenBy = (observer: SimMember) =>
    first(world.fates.values(), ({ member, isExpelled, hasLeft, hasLeftInPeace }) => {
      const known = observer.gossip?.member(member.id);
      const isRemembered = known !== undefined || observer.gossip?.state(member.id) !== undefined;
      if (isExpelled)
        return isRemembered ? `${observer.name} still knows ${member.name}, which was expelled` : undefined;
      if (member.isUp) {
        const own = member.gossip?.member(member.id);
        if (known?.status === ALIVE && known.gen === own?.gen && known.inc === own.inc) return undefined;
        return `${observer.name} holds ${member.name}, which runs, for ${statusOf(known?.status)}`;
      }
      if (hasLeftInPeace && known?.status === DEAD)
        return `${observer.name} holds ${member.name}, which said goodbye, for dead`;
      if (known === undefined || known.status !== ALIVE || living(world).length < JURY) return undefined;
      return `${observer.name} holds ${member.name} for alive, which ${hasLeft ? "left" : "is dead"}`;
    });
  const check = () => first(living(world), seenBy);
  return { name: "I9 I10 who runs is alive for all, who does not is not", atRest: check, restEnds: check };
};

function statusOf(status: number | undefined): string {
  if (status === DEAD) return "dead";
  if (status === LEFT) return "gone";
  return status === undefined ? "nobody" : "an older self";
}

const recordsAreWhatIsWanted: MakeInvariant = (world) => {
  const ofOwner = (observer: SimMember, owner: SimMember, wanted: ReadonlyMap<string, Uint8Array>) => {
    const { gossip } = observer;
    const own = owner.gossip?.state(owner.id);
    const state = gossip?.state(owner.id);
    const name = `${observer.name} has of ${owner.name}`;
    if ((state && contentOf(state)) !== (own && contentOf(own))) return `${name} other records than itself`;
    const keys = gossip?.keys(owner.id) ?? [];
    const odd = keys.find((key) => !wanted.has(key)) ?? [...wanted.keys()].find((key) => !keys.includes(key));
    if (odd !== undefined) return `${name} ${keys.includes(odd) ? "still" : "no"} "${odd}"`;
    return first(wanted, ([key, value]) => {
      const got = gossip?.value(owner.id, key);
      return got !== undefined && Buffer.compare(got, value) === 0 ? undefined : `${name} another "${key}"`;
    });
  };
  return {
    name: "I5 I12 each value is what its owner wants, no more and no less",
    atRest: () =>
      first(living(world), (owner) =>
        first(living(world), (observer) => ofOwner(observer, owner, world.fates.get(owner.id)?.wanted ?? new Map())),
      ),
  };
};

/** The digest from nothing. */
function recomputed({ gossip }: SimMember): { root: string; buckets: Uint32Array } {
  let [high, low] = [0, 0];
  const buckets = new Uint32Array(256);
  for (const { head, gen, version } of gossip?.members() ?? []) {
    const state = gossip?.state(head.id);
    const hashes = [hashMember(head.id, gen, version)];
    if (state !== undefined) hashes.push(hashRecords(head.id, state.gen, state.seq, state.state));
    for (const hash of hashes) {
      high ^= hash.high;
      low ^= hash.low;
      const bucket = bucketOf(head.id);
      buckets[bucket] = (buckets[bucket] as number) ^ hash.low;
    }
  }
  const root = [high, low].map((half) => (half >>> 0).toString(16).padStart(8, "0")).join("");
  return { root, buckets };
}

const digestsAreTrue: MakeInvariant = (world) => ({
  name: "I6 digests are those of what is known",
  atRest: () =>
    first(world.cluster.up, (member) =>
      member.gossip?.root === recomputed(member).root ? undefined : `${member.name}'s digest is not of its table`,
    ),
});

const linksHoldTogether: MakeInvariant = (world) => {
  /** A link is made, or ends, in a round trip; one that is held by one side only for longer is a defect. */
  const halves = () =>
    living(world).flatMap(({ id, name, gossip }) =>
      (gossip?.neighbors() ?? [])
        .filter((other) => world.fates.get(other)?.member.gossip?.neighbors().includes(id) !== true)
        .map((other) => `${name} has a link to ${world.nameOf(other)}, which does not know of it`),
    );
  let seen: readonly string[] = [];
  const check = () => {
    const up = living(world);
    const degree = degreeOf(up.length, TIMING.degree);
    const least = Math.min(degree - 1, up.length - 1);
    const byId = new Map(up.map((member) => [member.id, member]));
    const problem = first(up, ({ id, name, gossip }) => {
      const links = gossip?.neighbors() ?? [];
      // One is exchanged for another now and then.
      if (links.length < least - 1 || links.length > TIMING.degree + DEGREE_SLACK + 2)
        return `${name} has ${links.length} links`;
      if (links.includes(id)) return `${name} is its own neighbour`;
      const lost = links.find((other) => !byId.has(other));
      return lost && `${name} has a link to ${world.nameOf(lost)}, which is not there`;
    });
    return problem ?? (world.cluster.isConnected(up) ? undefined : "the links do not connect all members");
  };
  return {
    name: "I1 I10 links are mutual, in bounds, and connect all",
    atRest: () => {
      seen = halves();
      return check();
    },
    restEnds: () => {
      const now = halves();
      return seen.find((half) => now.includes(half)) ?? check();
    },
  };
};

const nothingWaits: MakeInvariant = (world) => {
  const check = () =>
    first(living(world), (member) => {
      const { missing, queueBytes, localHealth } = member.gossip?.gauges() ?? {};
      if (missing === 0 && queueBytes === 0 && (localHealth ?? 0) < TIMING.localHealthMax) return undefined;
      return `${member.name}: ${missing} missing, ${queueBytes} bytes queued, local health ${localHealth}`;
    });
  return { name: "I19 nothing is missing and nothing waits", atRest: check };
};

const nobodyComplains: MakeInvariant = (world) => ({
  name: "what honest members send is never refused as false",
  atRest: () =>
    world.hasLiars
      ? undefined
      : first(living(world), ({ name, gossip }) => {
          const refused = (["bad-delta", "bad-signature", "owner-limit"] as const).find(
            (why) => gossip?.refusals[why] !== undefined,
          );
          return refused && `${name} refused ${gossip?.refusals[refused]} × ${refused}`;
        }),
});

/** Of one member at rest, headers and seal included (the design's I16). */
const IDLE_BYTES_PER_SECOND = 5_000;

const restIsCheapAndStill: MakeInvariant = (world) => {
  let isResting = false;
  let beganAt = 0;
  let sent = new Map<SimMember, number>();
  return {
    name: "I14 I16 at rest nobody changes its mind, and little is sent",
    restBegins: () => {
      isResting = true;
      beganAt = world.now;
      sent = new Map(living(world).map((member) => [member, member.sent]));
    },
    effect: (member, effect) => {
      if (!isResting || world.fates.get(member.id)?.isExpelled === true) return undefined;
      if (effect.type === "member") return `${member.name} learnt something about ${world.nameOf(effect.id)}`;
      const isNoise = effect.type === "event" && (effect.event.type === "accused" || effect.event.type === "refuted");
      return isNoise && living(world).length >= JURY ? `${member.name}: ${effect.event.type}` : undefined;
    },
    restEnds: () => {
      isResting = false;
      const seconds = (world.now - beganAt) / 1_000;
      return first(sent, ([member, before]) => {
        const rate = (member.sent - before) / seconds;
        return rate > IDLE_BYTES_PER_SECOND ? `${member.name} sent ${Math.round(rate)} bytes a second` : undefined;
      });
    },
  };
};

/** What is published at rest is everywhere within this, without any luck: by pulls, whatever was lost. */
const NEWS_MS_MAX = 2_000;
/** And half of it within this: one pull, with its offer (40 ms of gathering, 60 ms of waiting, ways), and one more try. */
const NEWS_MS_MEDIAN = 250;

const newsTravelFast: MakeInvariant = (world) => {
  let news: {
    readonly owner: SimMember;
    readonly seq: number;
    readonly at: number;
    readonly had: Set<SimMember>;
    ms: number;
  }[] = [];
  let isResting = false;
  return {
    name: "news reach everybody soon",
    restBegins: () => {
      news = [];
      isResting = true;
    },
    effect: (member, effect) => {
      if (!isResting || effect.type !== "records") return undefined;
      const seq = member.gossip?.state(effect.owner)?.seq ?? 0;
      if (member.id === effect.owner)
        news.push({ owner: member, seq, at: world.now, had: new Set([member]), ms: Number.POSITIVE_INFINITY });
      for (const each of news) {
        if (each.owner.id !== effect.owner || seq < each.seq || each.had.has(member)) continue;
        each.had.add(member);
        if (living(world).every((other) => each.had.has(other))) each.ms = world.now - each.at;
      }
      return undefined;
    },
    restEnds: () => {
      isResting = false;
      if (living(world).length < 2 || news.length === 0) return undefined;
      const times = news.map(({ ms }) => ms).sort((a, b) => a - b);
      const median = times[Math.floor(times.length / 2)] as number;
      const late = news.find(({ ms }) => ms > NEWS_MS_MAX);
      if (late !== undefined) return `what ${late.owner.name} said took ${late.ms} ms to reach all`;
      return median > NEWS_MS_MEDIAN ? `half of the news took more than ${Math.round(median)} ms` : undefined;
    },
  };
};

export const REST_INVARIANTS: readonly MakeInvariant[] = [
  viewsAreTrue,
  allKnowTheSame,
  recordsAreWhatIsWanted,
  digestsAreTrue,
  linksHoldTogether,
  nothingWaits,
  nobodyComplains,
  restIsCheapAndStill,
  newsTravelFast,
];

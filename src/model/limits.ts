/**
 * Every bound of the product in one place, each with its unit and its reason. A queue, map, packet, body or retry that
 * has no line here is a defect. Only what a format prescribes stands with its codec.
 */

/** IFNAMSIZ is 16 with the closing zero; two characters go to the prefix `m-` or `d-` (spec: overlay §1.4 B9). */
export const NETWORK_NAME_MAX_BYTES = 13;
/** Networks in one configuration: each costs every agent two bridges and some rules, and every packet a compare. */
export const OVERLAYS_MAX = 256;
/** Policies of a cluster, the labels that one selects by, its ports, and the characters of its name. */
export const POLICIES_MAX = 1_000;
export const POLICY_LABELS_MAX = 8;
export const POLICY_PORTS_MAX = 16;
export const POLICY_NAME_MAX_LENGTH = 32;
/** Containers of which an agent tells others the labels that policies use, and the bytes of that in gossip: half of what
 * one owner may say there. */
export const POLICY_MEMBERS_TOLD_MAX = 1_000;
export const POLICY_MEMBERS_TOLD_MAX_BYTES = 128 << 10;
/** Reservations of a cluster, the addresses of one, and those that one agent hosts by the cluster's word: 128 are 9 kB of
 * its statement, and a route on every host. Claims are counted for the cluster as a whole. */
export const RESERVATIONS_MAX = 1_000;
export const RESERVED_ADDRESSES_MAX = 16;
export const HOSTED_MAX = 128;
export const CLAIM_REVISION_MAX = Number.MAX_SAFE_INTEGER;
/** Reserved addresses in use that an agent tells its master, for each network: who tells so many may have more. */
export const RESERVED_USES_TOLD_MAX = 256;
/** How long an ADD waits until the cluster's word on an address that it is to host is here and programmed. */
export const CLAIM_WAIT_MS = 10_000;
/** Prefixes that a packet is compared with one after another; more are looked up in a map, which costs about as much. */
export const PREFIXES_COMPARED_MAX = 8;
/** RFC 791: every link carries 576 bytes; less VXLAN's headers, rounded as the original did (spec: overlay §1.1). */
export const MTU_MIN = 552;
export const MTU_MAX = 65_535;
/** Outer Ethernet, IP, UDP and VXLAN headers around an inner frame. */
export const VXLAN_OVERHEAD_IPV4 = 50;
export const VXLAN_OVERHEAD_IPV6 = 70;
/** A /8 leaves 24 bits, which is what the VTEP's MAC has room for (spec: overlay §1.4 B3). */
export const VTEP_SUBNET_LENGTH_MIN = 8;
/** Longest VTEP pools: two addresses besides the first and the last one. */
export const VTEP_SUBNET_LENGTH_MAX_IPV4 = 30;
export const VTEP_SUBNET_LENGTH_MAX_IPV6 = 126;
/** Longest prefixes an agent's subnet may have, so that each half still holds a gateway and a container. */
export const AGENT_SUBNET_LENGTH_MAX_IPV4 = 29;
export const AGENT_SUBNET_LENGTH_MAX_IPV6 = 125;
/** RFC 7348: 24 bits. */
export const VNI_MAX = 0xff_ffff;
/** `dcos_overlay_config_attempts`, which the original's installer bounds so (spec: overlay §1.1). */
export const CONFIG_ATTEMPTS_MAX = 10;
/** Bytes of a configuration file; a real one is a few kilobytes. */
export const CONFIG_FILE_MAX_BYTES = 1 << 20;
/** Values that the file's YAML aliases may expand to, all together: a few lines of nested ones make billions. */
export const CONFIG_ALIASES_MAX = 100;
/** Problems of a file that are listed, the rest is counted: a file of noise would fill the screen. */
export const CONFIG_PROBLEMS_SHOWN_MAX = 50;
/** Bytes of one HTTP request body on either API. */
export const HTTP_BODY_MAX_BYTES = 1 << 20;
/** Bytes of one CNI call (configuration with prevResult, and environment). */
export const CNI_CALL_MAX_BYTES = 1 << 20;
/** A released address is not given again for this long, while another can be had: what was sent to its last holder, and
 * what still has its name cached, is over by then. */
export const ADDRESS_REST_MS = 60_000;
/** Bytes of what another CNI plugin prints. */
export const PLUGIN_OUTPUT_MAX_BYTES = 1 << 20;
/** What another CNI plugin may take for one call; `dhcp` waits about 10 s for a server. */
export const PLUGIN_TIMEOUT_MS = 30_000;
/** Problems of a CNI call that its refusal names, the rest is counted: runtimes log the text on one line. */
export const CNI_PROBLEMS_SHOWN_MAX = 20;
/** Characters of a wrong value that a refused CNI call shows. */
export const PARAMETER_SHOWN_MAX = 80;
/** Host ports of one container. Each is two elements of a map and some bytes of the lease; runtimes write out ranges. */
export const PORT_MAPPINGS_MAX = 4_096;
/** Further names of one container in one network. */
export const ALIASES_MAX = 64;
/** RFC 1035: a name, and one label of it. */
export const HOST_NAME_MAX_BYTES = 253;
export const HOST_NAME_LABEL_MAX_BYTES = 63;
/** Labels of one container, and the bytes of a key and of a value: they are kept with its lease, in memory too. */
export const LABELS_MAX = 64;
export const LABEL_KEY_MAX_BYTES = 256;
export const LABEL_VALUE_MAX_BYTES = 1_024;
/** Bytes of what a runtime calls a container. */
export const TASK_NAME_MAX_BYTES = 253;
/** Bytes of a runtime's name: TASK_COMM_LEN is 16 with the closing zero, and one may be given by hand. */
export const RUNTIME_NAME_MAX_BYTES = 64;
/** Folders in CNI_PATH. */
export const CNI_PATH_FOLDERS_MAX = 16;
/** How deep the objects and lists of a network configuration may be nested. */
export const CNI_JSON_DEPTH_MAX = 64;
/** Rates of a container's interface, in bits per second: from 1 kbit/s, below which nothing gets through, to what nftables
 * can count in nanoseconds and 64 bits. */
export const BANDWIDTH_RATE_MIN = 1_000;
export const BANDWIDTH_RATE_MAX = 100_000_000_000;
/** Bursts in bits: one full packet must fit (MTU_MAX is bigger, but such packets are cut before); the kernel counts
 * the bytes of a queue, which is longer by SHAPER_QUEUE_MS, in 32 bits. */
export const BANDWIDTH_BURST_MIN = 8 * 2_000;
export const BANDWIDTH_BURST_MAX = 8 * 2_000_000_000;
/** How long a packet to a container with a limited rate may wait before it is dropped. */
export const SHAPER_QUEUE_MS = 25;
/** The burst that a rate without one gets: what it lets through in this time, but at least so many bits (two full
 * segments of 64 kB). */
export const BANDWIDTH_BURST_DEFAULT_MS = 50;
export const BANDWIDTH_BURST_DEFAULT_MIN = 2 * 8 * 65_536;
/** IFALIASZ is 256 with the closing zero. */
export const IFALIAS_MAX_BYTES = 255;
/** Bytes of a container's id: with network and interface it must fit the alias of a device. */
export const CNI_CONTAINER_ID_MAX_BYTES = 200;
/** IFNAMSIZ is 16 with the closing zero. */
export const IFNAME_MAX_BYTES = 15;
/** The highest rank of an interface in its container: each has a routing table of its own there. */
export const INTERFACE_RANK_MAX = 999;
/** PATH_MAX of Linux, with the closing zero. */
export const PATH_MAX_BYTES = 4_096;
/** Differences that CHECK names; the first ones tell the story. */
export const CHECK_DIFFERENCES_SHOWN_MAX = 3;
/** Text of an error that an agent reports for a network, in characters. */
export const STATUS_ERROR_MAX_LENGTH = 1_024;
/** Registration back-off: the n-th wait is uniform in [0, min(MAX, FIRST · 2ⁿ)]. */
export const REGISTRATION_BACKOFF_FIRST_MS = 1_000;
export const REGISTRATION_BACKOFF_MAX_MS = 60_000;
/** Agents that are called at the same moment come within so long for each of them, and within FIRST however many: a
 * registration costs the master a few milliseconds. */
export const REGISTRATION_SPREAD_MS = 10;
/** How long an agent is told "identity taken" before it believes it. After a crash its own last instance may still look
 * alive to its peers; they need a second or two to find that it is not. */
export const REGISTRATION_IDENTITY_GRACE_MS = 20_000;
/** A call to one master; then the next one is tried. */
export const MASTER_CALL_TIMEOUT_MS = 5_000;
/** Bytes of a master's answer to a call; and of what all agents are told alike, as JSON: it travels a third longer, with a
 * record of 256 networks (150 kB), the agent's statement, and REMOVALS_MAX removals (200 kB). */
export const MASTER_ANSWER_MAX_BYTES = 1 << 20;
export const ASSIGNMENT_COMMON_MAX_BYTES = 350_000;
/** Deletions of devices that wait in a thread; one of the eight that bin/weft gives Node is left to other work. */
export const LINK_DELETIONS_AT_ONCE_MAX = 7;
/** A full pass runs at least this often, whatever the kernel's events say. */
export const RECONCILE_INTERVAL_MS = 30_000;
/** Kernel events within this time make one pass. Damage is repaired within 1 s: this and the pass must fit in it. */
export const RECONCILE_DEBOUNCE_MS = 50;
/**
 * Least time between two passes that events started, so that a noisy host costs a bounded share of a CPU, and calls of
 * runtimes wait for few of them; where a pass takes long, so many times that, but no longer than damage may stay.
 */
export const RECONCILE_EVENT_GAP_MS = 200;
export const RECONCILE_GAP_PASSES = 8;
export const RECONCILE_EVENT_GAP_MAX_MS = 700;
/** A pass in which something failed is made again after this time, then after twice as long each time. */
export const RECONCILE_RETRY_FIRST_MS = 1_000;
/** Address spaces of one network: each costs every packet a compare. */
export const SPACES_MAX = 16;
/** Further slices of one network that an agent may have: each is a route on every host, and two gateways on its own. */
export const SLICES_MAX = 64;
/** Prefixes of one agent, of all networks: its assignment has to fit ASSIGNMENT_STATEMENT_MAX_BYTES. */
export const AGENT_PREFIXES_MAX = 640;
/** A slice that an agent gave back is given to nobody for so long: by then no host has a route to it any more, and nothing
 * that was sent to its last holders is on its way. By the wall clock, because it must outlast restarts. */
export const SLICE_REST_S = 600;
export const SLICE_REST_MAX_S = 30 * 24 * 3_600;
/** What a removed agent had is given to nobody else for so long: it may not have heard of it, and its packets, and those
 * that are sent to it, still be on their way. By the wall clock, as above. */
export const AGENT_REST_S = 600;
/** Items at rest, of all agents: beyond them agents keep what they give back, and of removed ones nothing rests. */
export const RESTING_MAX = 20_000;
/** An agent that is to be removed by itself must have been away for at least so long. */
export const AGENT_REMOVE_AFTER_MIN_S = 10;
export const AGENT_REMOVE_AFTER_MAX_S = 365 * 24 * 3_600;
/** How often it is looked for agents that have been away too long. */
export const ABSENCE_CHECK_MS = 5_000;
/** How long a further slice must have been empty before it goes back: as long as its last address rests. */
export const SLICE_IDLE_S = 60;
export const SLICE_IDLE_MAX_S = 24 * 3_600;
/** A further slice goes back only when the others then are filled to at most this part of the threshold. */
export const ELASTIC_RELEASE = 0.75;
/** The share of an agent's addresses at which it gets a further slice, unless the configuration says otherwise. */
export const ELASTIC_THRESHOLD = 0.8;
/** How long an ADD that finds every address held waits for a further slice. */
export const GROWTH_WAIT_MS = 2_000;
/** What is news of the use of addresses is told so long after it was noticed; all else no more often than this. */
export const USAGE_NEWS_MS = 1_000;
export const USAGE_INTERVAL_MS = 60_000;
/** Least time between two reports that calls of runtimes asked for. */
export const USAGE_ASKED_GAP_MS = 100;
/** A status report that did not arrive is sent again after this time. */
export const STATUS_REPORT_RETRY_MS = 5_000;
/** Percent of a network's addresses on one host that are held when the log says so, lowest first. */
export const CAPACITY_MARKS: readonly number[] = [80, 100];
/** A mark counts as passed until the share is this far below it, in percent points. */
export const CAPACITY_MARK_RELEASE = 5;
/** A host's shortage of addresses lasts until no container has been refused for so long. */
export const SHORTFALL_QUIET_MS = 60_000;
/** Leases that were given to another plugin's device are looked after this often: each costs an open of its namespace. */
export const LONE_LEASES_INTERVAL_MS = 30_000;
/** A pass repairs lost attachments at most this often before it goes on; what broke since is the next pass's. */
export const REPAIR_ROUNDS_MAX = 3;
/** New failures of one pass that are logged one by one; 10,000 lines tell no more. */
export const FAILURES_LOGGED_MAX = 20;
/** Bytes of an answer to the command line: 10,000 agents, or 10,000 containers, are about 10 MB. */
export const COMMAND_ANSWER_MAX_BYTES = 64 << 20;
/** A call of the command line to a master or an agent. */
export const COMMAND_TIMEOUT_MS = 10_000;
/**
 * Messages of rtnetlink in one datagram. Even if each failed, the answers (about 1 kB each in the kernel's accounting)
 * would fit a receive buffer of the default size, and the event loop waits no longer than a millisecond or two.
 */
export const NETLINK_BATCH_MESSAGES = 256;
/** How long operations are carried out before the event loop goes on; a whole attachment takes less. */
export const KERNEL_STRETCH_MS = 2;
/** Bytes that a datagram sent may have: an nftables transaction is one datagram (10,000 map elements are 0.5 MB). */
export const NETLINK_SEND_BUFFER_BYTES = 32 << 20;
/** Bytes of answers that may wait: the errors of a whole batch. */
export const NETLINK_RECEIVE_BUFFER_BYTES = 4 << 20;
/** The kernel fills dumps to 32 kB a datagram; one message is never longer than an attribute, plus a little. */
export const NETLINK_DATAGRAM_MAX_BYTES = 128 << 10;
/** A list that changes under this many readings is given up: something changes the kernel without pause. */
export const KERNEL_READ_ATTEMPTS = 20;
/** Bytes of notices that may wait while the event loop is busy; one takes about 1 kB, and the kernel doubles this. */
export const NOTICE_BUFFER_BYTES = 8 << 20;
/** Bytes of one notice, which is one change. */
export const NOTICE_MAX_BYTES = 64 << 10;
/** Notices that are read before the event loop goes on. */
export const NOTICES_AT_ONCE_MAX = 5_000;
/** Pause before the sockets of notices are opened again when that failed (no descriptors left). */
export const NOTICE_REOPEN_MS = 1_000;
/** Members of one gossip: the table costs each of them some 500 bytes a member, and digests stay one datagram. */
export const GOSSIP_MEMBERS_MAX = 16_384;
/** Bytes of a gossip packet before it is sealed: 1,280 (the least MTU of IPv6) less IPv6 and UDP headers, less 32 of seal. */
export const GOSSIP_PACKET_MAX_BYTES = 1_200;
/** Bytes of a record's key, and of one piece of its value: an entry with signature fits a packet. */
export const GOSSIP_KEY_MAX_BYTES = 64;
export const GOSSIP_PIECE_MAX_BYTES = 900;
/** Entries of one owner, traces included, and the bytes of their keys and values: 1,000 containers' tasks. */
export const GOSSIP_OWNER_ENTRIES_MAX = 1_024;
export const GOSSIP_OWNER_BYTES_MAX = 256 << 10;
/** Traces of deleted records that an owner keeps; who was away for more gets all of its records. */
export const GOSSIP_TRACES_MAX = 64;
/** Rows of one message of digests: 40 of 33 bytes fill a packet. */
export const GOSSIP_SYNC_ROWS_MAX = 34;
/** Items of one offer: a full packet. */
export const GOSSIP_IHAVE_MAX = 53;
/** Offers that wait for one neighbour; then it is compared with as a whole. */
export const GOSSIP_OFFERS_MAX = 512;
/** Versions that are known to exist and are not here yet; sources remembered for each. */
export const GOSSIP_MISSING_MAX = 4_096;
export const GOSSIP_MISSING_SOURCES_MAX = 8;
/** Answers in pieces that are being put together, and how long they may take. */
export const GOSSIP_STAGED_MAX = 64;
export const GOSSIP_STAGED_MS = 2_000;
/** Bulk: bytes per second and at once; bytes that may wait for one member (all records of one owner, signatures and all,
 * else they would never arrive) and for all. */
export const GOSSIP_BULK_BYTES_PER_SECOND = 1 << 20;
export const GOSSIP_BULK_BURST_BYTES = 128 << 10;
export const GOSSIP_LINK_QUEUE_MAX_BYTES = 512 << 10;
export const GOSSIP_QUEUE_MAX_BYTES = 4 << 20;
/** Probes in flight; and those that wait because a digest disagreed about who lives. */
export const GOSSIP_PROBES_MAX = 64;
export const GOSSIP_DOUBTS_MAX = 1_024;
/** Testimonies that travel with an accusation. */
export const GOSSIP_TESTIMONIES_MAX = 4;
/** Pings on behalf of others in flight. */
export const GOSSIP_RELAYS_MAX = 256;
/** Members heard of last that are remembered: relays are chosen among them. */
export const GOSSIP_HEARD_MAX = 24;
export const GOSSIP_HEARD_MS = 3_000;
/** Accusations without testimonies that wait for a second one, and how long. */
export const GOSSIP_SOLO_MAX = 1_024;
export const GOSSIP_SOLO_MS = 60_000;
/** Deaths that one neighbour told and that wait for a round trip to it. */
export const GOSSIP_UNPROVEN_MAX = 64;
/** Versions that a new neighbour is offered at once, and how old they may be. */
export const GOSSIP_RECENT_MAX = 256;
export const GOSSIP_RECENT_MS = 10_000;
/** Rows that one round of comparison asks about: 16 of 256 parts. */
export const GOSSIP_SYNC_BUCKETS_AT_ONCE = 16;
/** Addresses that a member tries to join by. */
export const GOSSIP_SEEDS_MAX = 64;
/** Bytes of one gossip datagram: IPv6 carries 1,280 bytes over every link (RFC 8200 §5), less its header and UDP's, so
 * that none is ever cut into fragments. */
export const DATAGRAM_MAX_BYTES = 1_232;
/**
 * Datagrams that may wait inside this process when the kernel's send buffer (about 90 full datagrams) is full too. Bulk:
 * 64 of them hold up what is sent behind them by 0.6 ms at 1 Gbit/s. Control: a second of probes and answers.
 */
export const UDP_BULK_QUEUE_MAX = 64;
export const UDP_CONTROL_QUEUE_MAX = 1_024;
/** Bytes asked for in SO_RCVBUF: a second of the most that a healing partition was seen to send to one agent. The kernel
 * gives no more than net.core.rmem_max. */
export const UDP_RECEIVE_BUFFER_BYTES = 4 << 20;
/** Keys of the cluster that are valid at once: the current one, the previous one, the next one, and one to spare. */
export const CLUSTER_KEYS_MAX = 4;
/** How far a datagram may be overtaken by others of its sender, to whomever those went (RFC 4303 §3.4.3 asks for 64). */
export const REPLAY_WINDOW_COUNTERS = 1_024;
/** Sessions whose keys and windows are kept, 1.2 to 1.6 kB each (50 MB in all): three starts of each of 10,000 agents. */
export const SESSIONS_MAX = 32_768;
/** Sessions of which only the highest counter is kept once the table above is full, about 0.1 kB each. */
export const FORGOTTEN_SESSIONS_MAX = 65_536;
/** Addresses that have proved that they hold the key, and whose rates are kept: more than a cluster has agents. */
export const SENDERS_MAX = 16_384;
/** Datagrams a second, and at once, from one address under sessions that are known: ten times what the busiest agent was
 * seen to send to all others, and about 1 % of a core. */
export const SENDER_RATE = 2_000;
export const SENDER_BURST = 4_000;
/** Datagrams of unknown sessions from one address that has proved itself: an agent that starts anew needs one. */
export const NEW_SESSION_RATE = 20;
export const NEW_SESSION_BURST = 40;
/** The same for all such addresses together: their address can be forged. */
export const NEW_SESSIONS_RATE = 1_000;
export const NEW_SESSIONS_BURST = 2_000;
/** Datagrams from addresses that never proved themselves, all together. */
export const STRANGERS_RATE = 500;
export const STRANGERS_BURST = 1_000;
/** Received datagrams that wait to be opened: of known sessions (two bursts), and of others. */
export const RECEIVE_QUEUE_MAX = 8_192;
export const STRANGER_QUEUE_MAX = 1_024;
/** How long received datagrams are opened and handled before the event loop goes on. */
export const RECEIVE_STRETCH_MS = 2;
/** A master's announcement: the id of its start and a count. */
export const ANNOUNCEMENT_MAX_CHARS = 128;
/** What an agent says of its program: characters of its version and of a feature's name, and how many of those. */
export const PROGRAM_WORD_MAX_CHARS = 64;
export const FEATURES_MAX = 64;
/** What was learnt of members is written to disk this long after, all of it at once. */
export const GOSSIP_SAVE_MS = 1_000;
/** Bytes of a credential: it travels in gossip packets. */
export const CREDENTIAL_MAX_BYTES = 256;
/** Bytes of a signed assignment: 256 networks of both families are about 20 kB. */
export const ASSIGNMENT_STATEMENT_MAX_BYTES = 32 << 10;
/** Bytes of a signed removal or epoch floor. */
export const REMOVAL_MAX_BYTES = 256;
/** Epochs and revisions are 32 bits; a removal a second lasts for a century. */
export const EPOCH_MAX = 0xffff_ffff;
export const REVISION_MAX = 0xffff_ffff;
/** Removals that are kept before the epoch floor rises in their stead, and how many may wait for it: each is told to every
 * agent, in about 140 bytes, and with some traces they fit GOSSIP_OWNER_ENTRIES_MAX. Versions up to 0.1.0 kept more. */
export const REMOVALS_KEPT = 256;
export const REMOVALS_MAX = 900;
export const REMOVALS_READ_MAX = 1_024;
/** Ids of gossip keys are 32 bits. */
export const KEY_ID_MAX = 0xffff_ffff;
/** Tokens that the master keeps, those that do not count any more with them; the oldest of these make room. */
export const TOKENS_MAX = 1_000;
/** Characters of the note that an operator puts on a token. */
export const TOKEN_NOTE_MAX_LENGTH = 200;
/** Bytes of a file with a token or a key in it. */
export const SECRET_FILE_MAX_BYTES = 64 << 10;
/** Bytes of the nonce in a challenge: when it ends (8), chance (16), and the master's own mark (16). */
export const NONCE_BYTES = 40;
/** How long a challenge may be answered. Longer than MASTER_CALL_TIMEOUT_MS: the answer to it may take that long to come. */
export const CHALLENGE_LIFE_MS = 30_000;
/** Challenges that were answered and are remembered until they end, so that no answer counts twice; only members and
 * holders of tokens make any. 10,000 agents that come back at once make 30,000. */
export const CHALLENGES_ANSWERED_MAX = 131_072;
/** Characters of the header that proves a call: six fields, the longest of 86. */
export const CALL_PROOF_MAX_LENGTH = 512;
/** A phase of a change of the gossip key lasts at least so long: an agent whose stream broke comes back meanwhile. */
export const KEY_PHASE_MIN_MS = 15_000;
/** … and at most so long, whoever has not come for the keys by then: who comes later gets them at once. */
export const KEY_PHASE_MAX_MS = 120_000;
/** How many agents one token may let in, and the seconds for which it may: more are no bounds. */
export const TOKEN_USES_MAX = 1_000_000;
export const TOKEN_TTL_MAX_S = 10 * 366 * 24 * 3_600;
/** Characters of `[IPv6]:PORT`. */
export const GOSSIP_ADDRESS_MAX_LENGTH = 47;
/** What the kernel holds for peers is pruned to what gossip knows this long after the agent has joined and somebody is a
 * neighbour: until then what is not known may only not have arrived. */
export const GOSSIP_COMPLETE_MS = 10_000;
/** The epoch floor is told so long after it rose: by then the newer words of all agents have spread. */
export const EPOCH_FLOOR_DELAY_MS = 10_000;
/** Bytes of one answer of etcd: a page of entries, each a third longer as it travels. */
export const ETCD_ANSWER_MAX_BYTES = 64 << 20;
/** Entries or events that are asked for at once: 1,000 of 2 kB are 30 ms of etcd's time. */
export const ETCD_PAGE_ENTRIES = 1_000;
/** One try of a call at one member of etcd; then the next member is asked. A slow disk takes tenths of a second. */
export const ETCD_TRY_MS = 1_500;
/** A pause between two rounds through all members that do not answer. */
export const ETCD_ROUND_PAUSE_MS = 100;
/** How long a call that writes nothing may take in all. */
export const ETCD_CALL_MS = 5_000;
/** The lease of the leader's key, in seconds: so long nobody leads when a leader is cut off from etcd, yet answers the
 * other masters. etcd elects within 1 to 2 s when it loses a member itself, and the lease must outlive that. */
export const LEADER_LEASE_S = 4;
/** The leader renews its lease so often. */
export const LEADER_RENEW_MS = 800;
/** The leader's key is read so often by each master, besides the watch, which may have broken without a word. */
export const LEADER_READ_MS = 1_000;
/** A standby asks the leader for a sign of life so often, and believes so many failures in a row. */
export const LEADER_PROBE_INTERVAL_MS = 250;
export const LEADER_PROBE_TIMEOUT_MS = 400;
export const LEADER_PROBES_FAILED = 3;
/** A standby that has just deposed a leader waits before it deposes another one, each time twice as long: two masters that
 * reach etcd and not each other would take turns for ever. It starts from the first again after a calm time. */
export const TAKEOVER_PAUSE_FIRST_MS = 1_000;
export const TAKEOVER_PAUSE_MAX_MS = 60_000;
export const TAKEOVER_CALM_MS = 120_000;

/**
 * Bounds of the datapath's maps and of what is told of its traffic. What does not fit is left to the kernel, and the
 * status says so. Memory is taken by what is in a map, but for `translated` and `samples`, whose whole size is taken.
 */
/** Addresses of containers of one host, of each family. Twice what was ever seen on a host. */
export const DATAPATH_LOCALS_MAX = 8_192;
/** Prefixes of other hosts, of each family: 10,000 hosts with six slices each. About 100 bytes an entry. */
export const DATAPATH_PEERS_MAX = 65_536;
/** Lengths of such prefixes that are looked up, the longest first; each costs a packet one lookup more. As in maps.h. */
export const DATAPATH_LENGTHS_MAX = 8;
/** Pairs of groups of networks that talk: 256 networks that each name all others. */
export const DATAPATH_TALK_MAX = 65_536;
/** Containers that policies guard, of the whole cluster, of each family. */
export const DATAPATH_GUARDED_MAX = 65_536;
/** Addresses of services and nodes, of each family. */
export const DATAPATH_SPECIAL_MAX = 65_536;
/** Ends of connections that may be translated, of each family; the one that rested longest makes room. About 4 MB. */
export const DATAPATH_TRANSLATED_MAX = 65_536;
/** Pairs of source and destination that are counted by themselves. */
export const DATAPATH_PAIRS_MAX = 16_384;
/** Bytes of samples that wait to be read; a power of two and whole pages. One sample is 64 bytes with its header. */
export const DATAPATH_SAMPLES_BYTES = 1 << 18;
/** How often the counts of pairs are read where nobody asks, and how long one that says nothing is kept: 1 to 2 minutes
 * make room in the map long before it is full of the silent. */
export const TRAFFIC_READ_INTERVAL_MS = 20_000;
export const TRAFFIC_IDLE_MS = 60_000;
/** Reasons why a host's level is not higher, as a master takes them. */
export const DATAPATH_REASONS_MAX = 16;
/** Samples that wait for whoever asks; at 64 bytes about a megabyte. */
export const FLOWS_KEPT_MAX = 10_000;
/** How long packets are sampled after somebody asked last. */
export const FLOWS_LISTEN_MS = 5_000;
/** Of so many packets one, at most: a billion is none. */
export const SAMPLE_EVERY_MAX = 1_000_000_000;

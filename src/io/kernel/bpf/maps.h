/*
 * The maps that all programs of a host share, and what is in them. The agent writes them (layout.ts has the same shapes);
 * the programs write only `translated`, what they count, and the samples.
 *
 * A map's size stands in limits.ts. What is in no map is left to the kernel: a map that is full, or not yet filled, costs
 * speed and nothing else. Addresses are in network order; an IPv4 address has maps of its own, since its keys are short.
 */
#ifndef WEFT_MAPS_H
#define WEFT_MAPS_H

#include "kernel.h"

struct address6 {
	__u32 word[4];
};

/* How a packet went on, and why not faster. The order is that of datapath.ts. */
enum path {
	PATH_SAME_HOST = 1, /* to a container of this host */
	PATH_TUNNEL,       /* level 1: by way of the kernel's VXLAN device */
	PATH_ENCAPSULATED, /* level 2: a program wrote or took off the tunnel's header */
	/* From here on it was left to the kernel. */
	NOT_IP,            /* ARP, a VLAN, a frame for another MAC */
	NOT_OWN_SOURCE,    /* from a container with an address or a MAC that it does not have */
	NOT_PLAIN,         /* fragments, IP options, extension headers, a hop limit that ends here, a container's own tunnel */
	NOT_TCP_UDP,       /* ICMP and other protocols */
	FORBIDDEN_PORT,    /* DHCP, the tunnel's own port */
	OUTSIDE,           /* for or from nobody in the overlay */
	TRANSLATED,        /* answers something that may have been translated on its way */
	BETWEEN_NETWORKS,  /* networks that do not talk, or are not known to */
	GUARDED,           /* a policy looks at it */
	LIMITED,           /* the container's traffic is held to a rate, or is not Weft's to say */
	TOO_BIG,           /* for the tunnel or for the container's device */
	CONGESTED,         /* the underlay marked it, and the mark must get inside */
	STRANGER,          /* a tunnel packet whose sender does not have the inner source */
	NOT_THE_TUNNEL,    /* other traffic of the underlay; not counted */
	PATHS,
};

#define LENGTHS 8

/* What is the same for all packets. */
struct settings {
	__u32 underlay; /* the device that holds `node` */
	__u32 tunnel;   /* the VXLAN device */
	__u32 node;     /* this host's address on the underlay; 0 where that is IPv6 */
	__u32 vni;      /* as in the header: in the upper three bytes */
	__u32 mtu;      /* of what the tunnel carries */
	__u32 sample;   /* of so many packets one is told; 0: none */
	__u32 has;      /* which maps have anything at all, and what the kernel can do */
	__u8 tunnel_mac[6];
	__u8 gateway_mac[6];
	/* Of the prefixes in `peers4` and `peers6`, the longest first; 0: no more. */
	__u32 length4[LENGTHS], mask4[LENGTHS];
	__u32 length6[LENGTHS];
	struct address6 mask6[LENGTHS];
};
#define HAS_GUARDED 1
#define HAS_SPECIAL 2
#define DECAPSULATES_IPV6 4 /* the kernel knows BPF_F_ADJ_ROOM_DECAP_L3_IPV6 */

/* A container of this host, by its address. */
struct local {
	__u32 ifindex; /* the host's end of its veth */
	__u32 group;   /* of its network; see `talk` */
	__u8 mac[6];
	__u16 mtu;
	__u32 kernel; /* why its packets are all left to the kernel: an enum path; 0: they are not */
};

/* Who has a prefix elsewhere. */
struct peer {
	__u32 node; /* where the tunnel's packets go; 0 where that is IPv6 */
	__u32 group;
	__u8 mac[6]; /* of its VXLAN device */
	__u16 level;
	struct address6 neighbor; /* its address on the VXLAN device, of the family of the prefix */
};

/* Two groups of networks; a number never means another group, whatever the networks become. */
struct groups {
	__u32 from, to;
};

struct prefix4 {
	__u32 length;
	__u32 address;
};

struct prefix6 {
	__u32 length;
	struct address6 address;
};

/* A container's end of a connection. */
struct end4 {
	__u32 address;
	__u16 port;
	__u16 protocol;
};

struct end6 {
	struct address6 address;
	__u16 port;
	__u16 protocol;
};

struct pair4 {
	__u32 source, destination, path;
};

struct pair6 {
	struct address6 source, destination;
	__u32 path;
};

struct count {
	__u64 packets, bytes;
};

/* One packet that was told of. */
struct sample {
	struct address6 source, destination; /* IPv4 in the first word */
	__u16 source_port, destination_port;  /* network order */
	__u8 family, protocol, path, unused;
	__u32 ifindex; /* where it came in */
	__u32 length;
};

/* The loader makes the maps: types and flags from here, sizes from limits.ts by their names. */
struct map {
	__u32 type, key, value, flags;
};
#define MAP(name, type, key, value, flags) \
	struct map name SECTION("maps") = {type, sizeof(key), sizeof(value), flags}

MAP(settings, BPF_MAP_TYPE_ARRAY, __u32, struct settings, 0);
MAP(locals4, BPF_MAP_TYPE_HASH, __u32, struct local, BPF_F_NO_PREALLOC);
MAP(locals6, BPF_MAP_TYPE_HASH, struct address6, struct local, BPF_F_NO_PREALLOC);
MAP(peers4, BPF_MAP_TYPE_HASH, struct prefix4, struct peer, BPF_F_NO_PREALLOC);
MAP(peers6, BPF_MAP_TYPE_HASH, struct prefix6, struct peer, BPF_F_NO_PREALLOC);
/* Two groups of networks that talk; the same group always does. */
MAP(talk, BPF_MAP_TYPE_HASH, struct groups, __u8, BPF_F_NO_PREALLOC);
/* Containers of whichever host that a policy guards: the kernel sees all that they send and get. */
MAP(guarded4, BPF_MAP_TYPE_HASH, __u32, __u8, BPF_F_NO_PREALLOC);
MAP(guarded6, BPF_MAP_TYPE_HASH, struct address6, __u8, BPF_F_NO_PREALLOC);
/* Addresses behind which somebody else may answer: VIPs, nodes. */
MAP(special4, BPF_MAP_TYPE_HASH, __u32, __u8, BPF_F_NO_PREALLOC);
MAP(special6, BPF_MAP_TYPE_HASH, struct address6, __u8, BPF_F_NO_PREALLOC);
/* Who spoke to one of these: what comes back to them has to be translated back. */
MAP(translated4, BPF_MAP_TYPE_LRU_HASH, struct end4, __u8, 0);
MAP(translated6, BPF_MAP_TYPE_LRU_HASH, struct end6, __u8, 0);
/* Per processor, so that counting costs no cache line of another. */
MAP(counts, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct count, 0);
MAP(pairs4, BPF_MAP_TYPE_PERCPU_HASH, struct pair4, struct count, BPF_F_NO_PREALLOC);
MAP(pairs6, BPF_MAP_TYPE_PERCPU_HASH, struct pair6, struct count, BPF_F_NO_PREALLOC);
struct map samples SECTION("maps") = {BPF_MAP_TYPE_RINGBUF, 0, 0, 0};

#define lookup(map, key) bpf_map_lookup_elem(&map, key)

INLINE struct settings *read_settings(void)
{
	__u32 first = 0;
	return lookup(settings, &first);
}

#endif

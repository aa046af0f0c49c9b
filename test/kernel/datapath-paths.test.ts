/**
 * The datapath on the wire: two hosts and their containers, at each level, with programs put on devices as this kernel
 * allows it best. Other files do it all again by TCX alone and by clsact alone.
 */
import { pathTests } from "./datapath-paths.ts";

await pathTests(undefined);

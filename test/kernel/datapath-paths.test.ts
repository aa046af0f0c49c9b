/**
 * The datapath on the wire: two hosts and their containers, at each level, by programs where the kernel has TCX. Another
 * file does it all again by clsact.
 */
import { pathTests } from "./datapath-paths.ts";

await pathTests("tcx");

/**
 * The datapath on the wire with programs as filters of clsact, as kernels before 6.6 have them: in a process of its own,
 * because a process decides once.
 */
import { pathTests } from "./datapath-paths.ts";

await pathTests("clsact");

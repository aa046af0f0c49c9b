/**
 * The datapath on the wire with all programs put on devices by TCX: in a process of its own, because a process decides once.
 */
import { pathTests } from "./datapath-paths.ts";

await pathTests("tcx");

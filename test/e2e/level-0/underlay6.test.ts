/**
 * The tests of underlay6.test.ts with all agents at level 0 of the datapath. `npm run matrix` has every end-to-end test at every
 * level; these are about what packets meet.
 */
process.env.WEFT_DATAPATH_LEVEL = "0";
await import("../underlay6.test.ts");

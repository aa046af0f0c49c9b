/**
 * The tests of isolation.test.ts with all agents at level 1 of the datapath. `npm run matrix` has every end-to-end test at every
 * level; these are about what packets meet.
 */
process.env.WEFT_DATAPATH_LEVEL = "1";
await import("../isolation.test.ts");

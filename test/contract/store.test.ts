import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MemoryDisk, openMemoryAgentStore, openMemoryMasterStore } from "../../src/io/store/memory-store.ts";
import { openAgentStore, openMasterStore } from "../../src/io/store/sqlite-store.ts";
import { storeContract } from "./store-contract.ts";

storeContract("sqlite", () => {
  const dir = mkdtempSync(join(tmpdir(), "weft-test-store-"));
  return {
    openMaster: () => openMasterStore(join(dir, "data")),
    openAgent: () => openAgentStore(join(dir, "data")),
    dispose: () => rmSync(dir, { recursive: true }),
  };
});

storeContract("memory", () => {
  const disks = { master: new MemoryDisk(), agent: new MemoryDisk() };
  return {
    openMaster: () => openMemoryMasterStore(disks.master),
    openAgent: () => openMemoryAgentStore(disks.agent),
    dispose: () => {},
  };
});

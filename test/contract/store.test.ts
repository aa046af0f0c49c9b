import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MemoryDisk, openMemoryAgentStore, openMemoryMasterDisk } from "../../src/io/store/memory-store.ts";
import { openMasterDisk } from "../../src/io/store/sqlite-control-store.ts";
import { openAgentStore } from "../../src/io/store/sqlite-store.ts";
import { storeContract } from "./store-contract.ts";

storeContract("sqlite", () => {
  const dir = mkdtempSync(join(tmpdir(), "weft-test-store-"));
  return {
    openMaster: () => openMasterDisk(join(dir, "data")),
    openAgent: () => openAgentStore(join(dir, "data")),
    dispose: () => rmSync(dir, { recursive: true }),
  };
});

storeContract("memory", () => {
  const disks = { master: new MemoryDisk(), agent: new MemoryDisk() };
  return {
    openMaster: () => openMemoryMasterDisk(disks.master),
    openAgent: () => openMemoryAgentStore(disks.agent),
    dispose: () => {},
  };
});

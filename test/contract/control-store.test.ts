import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";
import type { MasterDisk } from "../../src/io/ports.ts";
import { openEtcdControlStore } from "../../src/io/store/etcd/etcd-control-store.ts";
import { parseEtcdUrl } from "../../src/io/store/etcd/etcd-url.ts";
import {
  MemoryControlPlace,
  type MemoryControlStore,
  openMemoryControlStore,
} from "../../src/io/store/memory-control-store.ts";
import { MemoryDisk, openMemoryMasterDisk } from "../../src/io/store/memory-store.ts";
import { openMasterDisk } from "../../src/io/store/sqlite-control-store.ts";
import { etcdProblem, TestEtcd } from "../support/etcd.ts";
import { type ControlPlace, controlStoreContract } from "./control-store-contract.ts";

let etcd: TestEtcd | undefined;
let places = 0;
const skip = etcdProblem();

before(async () => {
  if (skip === undefined) etcd = await TestEtcd.start();
});
after(() => etcd?.stop());

function memoryPlace(): ControlPlace {
  const place = new MemoryControlPlace();
  return {
    open: () => openMemoryControlStore(place),
    depose: async (store) => {
      (store as MemoryControlStore).pause();
      place.depose();
      (store as MemoryControlStore).resume();
    },
    dispose: () => {},
  };
}

/** The control plane on a master's own disk. */
function diskPlace(openDisk: () => MasterDisk, dispose: () => void): ControlPlace {
  return {
    open: () => {
      const disk = openDisk();
      return { ...disk.control, close: async () => disk.close() };
    },
    dispose,
  };
}

function memoryDiskPlace(): ControlPlace {
  const disk = new MemoryDisk();
  return diskPlace(
    () => openMemoryMasterDisk(disk),
    () => {},
  );
}

function sqlitePlace(): ControlPlace {
  const dir = mkdtempSync(join(tmpdir(), "weft-test-control-"));
  return diskPlace(
    () => openMasterDisk(dir),
    () => rmSync(dir, { recursive: true }),
  );
}

/** A prefix of its own in the etcd of this file. */
async function etcdPlace(): Promise<ControlPlace> {
  places += 1;
  const { endpoints, prefix } = parseEtcdUrl(`etcd://${etcd?.endpoints.join(",")}/weft-${places}`);
  let isDeposed = false;
  const probe = async () => !isDeposed;
  return {
    open: () => openEtcdControlStore({ endpoints, prefix, probe }),
    depose: async () => {
      isDeposed = true;
    },
    dispose: () => {},
  };
}

controlStoreContract("memory", memoryPlace, { isShared: true });
controlStoreContract("memory disk", memoryDiskPlace, { isShared: false });
controlStoreContract("sqlite", sqlitePlace, { isShared: false });
controlStoreContract("etcd", etcdPlace, { isShared: true, skip });

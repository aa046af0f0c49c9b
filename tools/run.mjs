/**
 * What `npm run demo|test|check|sim|bench|matrix|build-bpf|weft` start: makes a fresh checkout able to run, then runs.
 *
 * Plain JavaScript for any Node from 20 on, because it is what finds or fetches the Node that the rest asks for. It needs
 * nothing installed, says in one line each what it does, and changes only node_modules and, as root, missing Debian
 * packages. What is installed is read from npm's own record (node_modules/.package-lock.json), so it does not matter who
 * installed it.
 */
import { spawn, spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const NODE_MAJOR_MIN = 24;
const NPM_ERROR_LINES = 12;
const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
/** An unprivileged user's PATH often lacks the places where `ip` and `nft` are. */
const PATH = [process.env.PATH ?? "", "/usr/local/sbin", "/usr/sbin", "/sbin"].join(delimiter);

/** Debian package → an executable that tells that it is there. */
const LAB_PACKAGES = { iproute2: "ip", "iputils-ping": "ping", "util-linux": "unshare" };
const TEST_PACKAGES = { ...LAB_PACKAGES, nftables: "nft", procps: "sysctl" };
/** What the demo runs half of its containers by. Without it the CNI plugin attaches them all. */
const DOCKER_PACKAGES = { containerd: "containerd", crun: "crun", "docker.io": "dockerd" };
/** What images are made of. */
const IMAGE_PACKAGES = { "busybox-static": "busybox" };
/** Container runtimes, plugins and stores that tests let loose on Weft. Without one of them its tests say so and are skipped. */
const RUNTIME_PACKAGES = {
  podman: "podman",
  ...DOCKER_PACKAGES,
  ...IMAGE_PACKAGES,
  "containernetworking-plugins": "/usr/lib/cni/bridge",
  "etcd-server": "etcd",
  // By which the datapath's object is built once more.
  "clang-14": "clang-14",
  "linux-libc-dev": "/usr/include/linux/bpf.h",
};
const BENCH_PACKAGES = {
  ...TEST_PACKAGES,
  iptables: "iptables-legacy",
  ipset: "ipset",
  ethtool: "ethtool",
  iperf3: "iperf3",
  sockperf: "sockperf",
  serf: "serf",
  "containernetworking-plugins": "/usr/lib/cni/bridge",
};

/** @type {Record<string, { script: string, packages: Record<string, string>, optional?: Record<string, string> }>} */
const COMMANDS = {
  demo: { script: "src/app/demo/main.ts", packages: LAB_PACKAGES, optional: DOCKER_PACKAGES },
  test: { script: "tools/test.ts", packages: TEST_PACKAGES, optional: RUNTIME_PACKAGES },
  check: { script: "tools/check.ts", packages: {} },
  sim: { script: "sim/main.ts", packages: {} },
  bench: { script: "bench/main.ts", packages: BENCH_PACKAGES, optional: { ...DOCKER_PACKAGES, ...IMAGE_PACKAGES } },
  matrix: { script: "tools/matrix.ts", packages: TEST_PACKAGES, optional: RUNTIME_PACKAGES },
  "build-bpf": {
    script: "tools/build-bpf.ts",
    packages: { "clang-14": "clang-14", "linux-libc-dev": "/usr/include/linux/bpf.h" },
  },
  weft: { script: "src/app/cli/main.ts", packages: {} },
};

/** @param {string} line */
const say = (line) => process.stderr.write(`weft: ${line}\n`);

/** @param {string} line @returns {never} */
function fail(line) {
  say(line);
  process.exit(1);
}

/** @param {string} program its name, or its path */
function onPath(program) {
  if (program.startsWith("/")) return existsSync(program);
  return PATH.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

// ---- npm packages --------------------------------------------------------------------------------------------------

/**
 * @typedef {{ version?: string, optional?: boolean }} LockEntry
 * @param {string} path @returns {Record<string, LockEntry> | undefined}
 */
function lockedPackages(path) {
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")).packages : undefined;
}

/** Whether node_modules holds what package-lock.json asks for; optional ones (other machines' binaries) may be absent. */
function installed() {
  const wanted = lockedPackages(join(ROOT, "package-lock.json")) ?? {};
  const present = lockedPackages(join(ROOT, "node_modules/.package-lock.json"));
  return (
    present !== undefined &&
    Object.entries(wanted).every(([path, entry]) => {
      const found = present[path];
      return path === "" || (found === undefined ? entry.optional === true : found.version === entry.version);
    })
  );
}

function installPackages() {
  say("installing npm packages …");
  const arguments_ = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  const npm = process.env.npm_execpath;
  const [file, before] = npm?.endsWith("npm-cli.js") === true ? [process.execPath, [npm]] : ["npm", []];
  const result = spawnSync(file, [...before, ...arguments_], { cwd: ROOT, encoding: "utf8" });
  if (result.status === 0) return;
  // After its reason npm prints all its options.
  process.stderr.write((result.stderr ?? "").split("\n").slice(0, NPM_ERROR_LINES).join("\n"));
  fail(`npm ci failed (${result.error?.message ?? "see above"}); is the npm registry reachable from here?`);
}

// ---- Node ----------------------------------------------------------------------------------------------------------

/** A Node that runs the sources as they stand, or `undefined`. */
function findNode() {
  if (Number.parseInt(process.versions.node, 10) >= NODE_MAJOR_MIN) return process.execPath;
  const packaged = join(ROOT, `node_modules/node-linux-${process.arch}/bin/node`);
  return existsSync(packaged) ? packaged : undefined;
}

// ---- Debian packages -----------------------------------------------------------------------------------------------

/** @param {Record<string, string>} packages package → program @returns {string[]} */
const missing = (packages) => Object.keys(packages).filter((name) => !onPath(packages[name] ?? name));

const canInstall = () => process.getuid?.() === 0 && onPath("apt-get");

/**
 * Where a package's own scripts may start a daemon: its network and firewall, its processes and its /run are gone when the
 * installation has ended, and it does not see the machine's systemd.
 */
const APART = [
  "--net",
  "--mount",
  "--pid",
  "--fork",
  "--kill-child",
  "sh",
  "-c",
  'mount -t tmpfs tmpfs /run; "$@"',
  "sh",
];

/** @param {string[]} names @param {boolean} [apart] whether daemons come with them, which must not start here */
function aptInstall(names, apart = false) {
  say(`installing Debian packages: ${names.join(" ")} …`);
  /** @type {import("node:child_process").SpawnSyncOptions} */
  const options = {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, PATH, DEBIAN_FRONTEND: "noninteractive" },
  };
  spawnSync("apt-get", ["-qq", "update"], options);
  // What would take another package away (another Podman, say) is not wanted that much.
  const install = ["-qq", "install", "-y", "--no-install-recommends", "--no-remove", ...names];
  if (!apart) spawnSync("apt-get", install, options);
  else if (spawnSync("apt-get", [...install, "--download-only"], options).status === 0)
    spawnSync("unshare", [...APART, "apt-get", ...install, "--no-download"], options);
}

/**
 * @param {Record<string, string>} packages package → program
 * @param {Record<string, string>} optional those that only root gets, and that nothing fails without
 */
function ensureDebianPackages(packages, optional = {}) {
  const needed = missing(packages);
  const byHand = `apt-get install ${needed.join(" ")}`;
  if (needed.length > 0 && !canInstall()) fail(`Debian packages are missing; as root: ${byHand}`);
  if (needed.length > 0) aptInstall(needed);
  if (missing(packages).length > 0) fail(`apt-get did not install ${missing(packages).join(" ")}; try: ${byHand}`);
  if (!canInstall() || missing(optional).length === 0) return;
  aptInstall(missing(optional), true);
  if (missing(optional).length > 0) say(`going on without ${missing(optional).join(" ")}`);
}

// ---- run -----------------------------------------------------------------------------------------------------------

/** @param {string} node @param {string[]} argv */
function run(node, argv) {
  const child = spawn(node, ["--disable-warning=ExperimentalWarning", ...argv], {
    stdio: "inherit",
    env: { ...process.env, PATH, WEFT_NODE: node },
  });
  // A terminal's Ctrl-C reaches the child by itself as well; whoever gets it twice takes it as one.
  for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) {
    process.on(signal, () => child.kill(signal));
  }
  child.on("error", (error) => fail(`${node} does not start: ${error.message}`));
  child.on("exit", (status, signal) => {
    if (signal === null) process.exit(status ?? 1);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}

const [name, ...rest] = process.argv.slice(2);
const command = COMMANDS[name ?? ""];
if (command === undefined) fail(`usage: node tools/run.mjs ${Object.keys(COMMANDS).join("|")} [ARGUMENT…]`);
if (process.platform !== "linux") fail(`Weft programs the Linux kernel; this is ${process.platform}`);
if (!installed()) installPackages();
const node = findNode();
if (node === undefined)
  fail(
    `Node ${NODE_MAJOR_MIN} or newer is needed and npm brought none for ${process.arch}; this is ${process.version}`,
  );
ensureDebianPackages(command.packages, command.optional);
run(node, [join(ROOT, command.script), ...rest]);

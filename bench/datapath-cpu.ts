/**
 * Processor time that container to container costs with the fast path, against host to host on the bare wire: microseconds
 * a request of one byte with its answer (model P), seconds a gigabyte of one TCP stream (model Q). `stock.*`: the same
 * against the stock wiring.
 *
 * It is the time of the whole machine, both hosts with the kernel's work that no process is charged for, so what else the
 * machine does is in it: only a quiet one gives the numbers, the ratio of a round stands some. `--level N`: the fast path's.
 */
import { acrossHosts, compare, hostToHost, levelOf, measured, openSides, type Question } from "./datapath-sides.ts";
import { bench } from "./figures.ts";

interface Figure extends Question {
  readonly name: string;
  readonly unit: string;
  readonly target: string;
}

const FIGURES: readonly Figure[] = [
  {
    name: "us.per.transaction",
    unit: "µs",
    kind: "tcp-rr",
    model: "P",
    number: ({ busyMs, count }) => (busyMs * 1e3) / count,
    target: "ratio<=1.2",
  },
  {
    name: "s.per.gb",
    unit: "s/GB",
    kind: "tcp-stream",
    model: "Q",
    number: ({ busyMs, count }) => (busyMs * 1e6) / count,
    target: "ratio<=1.05",
  },
];

await bench(
  "datapath-cpu",
  async ({ quick, figure, number }) => {
    const sides = await openSides(levelOf(number));
    const paths = { ours: acrossHosts(sides.ours), stock: acrossHosts(sides.stock), bare: hostToHost(sides.bare) };
    for (const { name, unit, target, ...question } of FIGURES) {
      const { ours, stock, bare } = await compare(
        paths,
        question,
        quick ? { rounds: 5, ms: 700 } : { rounds: 11, ms: 1_500 },
      );
      figure(measured(name, unit, ours, bare, target));
      figure(measured(`stock.${name}`, unit, ours, stock));
    }
  },
  ["level"],
);

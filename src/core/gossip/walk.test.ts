import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "../../../test/support/seeded-random.ts";
import { Walk } from "./walk.ts";

test("a walk meets each number before it meets one again, and another walk meets them in another order", () => {
  const orders = [1, 2].map((seed) => {
    const walk = new Walk(seededRandom(seed).fraction);
    for (let n = 0; walk.next(97) !== 0; n += 1) assert.ok(n < 97, "it comes to 0");
    const order = Array.from({ length: 97 }, () => walk.next(97));
    assert.equal(new Set(order).size, 97);
    return order.join();
  });
  assert.notEqual(orders[0], orders[1]);
});

test("walks begin at places of their own", () => {
  const starts = [0, 0.25, 0.5, 0.75].map((place) => {
    const draws = [place];
    // The stride is drawn second: the same for all.
    return new Walk(() => draws.shift() ?? 0).next(100);
  });
  assert.equal(new Set(starts).size, 4);
});

test("a walk goes on where numbers come and go", () => {
  const walk = new Walk(seededRandom(3).fraction);
  for (let n = 0; n < 1_000; n += 1) {
    const size = 1 + (n % 37);
    const at = walk.next(size);
    assert.ok(Number.isInteger(at) && at >= 0 && at < size, `${at} of ${size}`);
  }
});

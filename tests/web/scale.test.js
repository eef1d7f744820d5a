import assert from "node:assert/strict";
import { test } from "node:test";

import { countAt, positionOf } from "../../src/regiontree/viewer/web/scale.js";

test("the scale goes from one region to the most", () => {
  assert.equal(positionOf(1, 400), 0);
  assert.equal(positionOf(400, 400), 1);
  assert.equal(positionOf(20, 400), 0.5); // in the middle lies the square root
});

test("positions lead back to their numbers", () => {
  for (const most of [2, 7, 400, 70_000]) {
    for (const count of [1, 2, 3, most - 1, most]) {
      if (count <= most) assert.equal(countAt(positionOf(count, most), most), count);
    }
  }
});

test("an image that is not divided has one position", () => {
  assert.equal(positionOf(1, 1), 0);
  assert.equal(countAt(0, 1), 1);
  assert.equal(countAt(1, 1), 1);
});

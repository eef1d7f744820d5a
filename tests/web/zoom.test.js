import assert from "node:assert/strict";
import { test } from "node:test";

import { Zoom } from "../../src/regiontree/viewer/web/zoom.js";

test("a small selection comes to the middle third", () => {
  const zoom = new Zoom();
  zoom.aim(0.5, 0.1, 0, false);
  assert.ok(Math.abs(zoom.share - 0.3) < 1e-12);
  assert.ok(Math.abs(zoom.top - 0.4) < 1e-12);
  assert.equal(zoom.move(1000), false);
});

test("the part in sight stays within the image", () => {
  const zoom = new Zoom();
  for (const top of [0, 0.95]) {
    zoom.aim(top, 0.05, 0, false);
    assert.ok(zoom.top >= 0);
    assert.ok(zoom.top + zoom.share <= 1 + 1e-12);
  }
  zoom.aim(0.2, 0.6, 0, false);
  assert.deepEqual([zoom.top, zoom.share], [0, 1]);
});

test("a smooth change begins where it is, only comes closer, and ends where it must", () => {
  const zoom = new Zoom();
  zoom.aim(0.5, 0.01, 100, true);
  let before = zoom.share;
  assert.equal(zoom.move(100), true);
  assert.equal(zoom.share, 1);
  for (let now = 110; zoom.move(now); now += 10) {
    assert.ok(zoom.share < before);
    before = zoom.share;
    assert.ok(now < 2000);
  }
  assert.deepEqual([zoom.top, zoom.share], [zoom.target.top, zoom.target.share]);
});

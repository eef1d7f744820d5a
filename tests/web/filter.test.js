import assert from "node:assert/strict";
import { test } from "node:test";

import { matcher, plainText } from "../../src/regiontree/viewer/web/filter.js";

test("case and accents make no difference", () => {
  const name = plainText("Été à Rome.JPG");
  assert.ok(matcher("ete rome")(name));
  assert.ok(matcher("ROME é")(name));
  assert.ok(!matcher("rome paris")(name));
});

test("an empty query matches everything", () => {
  assert.ok(matcher("")("anything"));
  assert.ok(matcher("   ")(""));
});

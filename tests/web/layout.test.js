import assert from "node:assert/strict";
import { test } from "node:test";

import { Layout } from "../../src/regiontree/viewer/web/layout.js";
import { positionOf } from "../../src/regiontree/viewer/web/scale.js";
import { handTree, randomTree } from "./trees.js";

test("bars of the hand-made tree: 0 is the upper half, 3 and 4 share the lower half", () => {
  const layout = new Layout(handTree());
  assert.equal(layout.nodeAt(0.2, 0.5), 6);
  assert.equal(layout.nodeAt(1, 0.25), 0);
  assert.equal(layout.nodeAt(1, 0.6), 3);
  assert.equal(layout.nodeAt(1, 0.8), 1);
});

for (const seed of [0, 1, 2]) {
  test(`random tree ${seed}: the column of a cut shows its regions, as tall as they are large`, () => {
    const tree = randomTree(30, seed);
    const layout = new Layout(tree);
    for (const m of tree.steps) {
      const position = positionOf(tree.counts[m], tree.most);
      const regions = tree.regionsOf(m);
      let area = 0;
      for (let node = 0; node <= tree.root; node++) {
        if (regions[node] !== node) continue;
        area += tree.area[node];
        const middle = layout.tops[node] + layout.shares[node] / 2;
        assert.equal(layout.nodeAt(position, middle), node);
      }
      assert.equal(area, tree.area[tree.root]);
    }
  });
}

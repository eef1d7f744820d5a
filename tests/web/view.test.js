import assert from "node:assert/strict";
import { test } from "node:test";

import { View } from "../../src/regiontree/viewer/web/view.js";
import { HAND_LABELS, handTree, random, randomTree } from "./trees.js";

const NONE = 0xffffffff;

test("borders of the hand-made tree lie left of and above the next region", () => {
  const view = new View(handTree(), HAND_LABELS, [2, 4]);
  assert.deepEqual([...view.borders], [NONE, 0, 1, 1, NONE, 0, NONE, NONE]);
});

test("the box of a node holds its pixels and no line more", () => {
  const view = new View(handTree(), HAND_LABELS, [2, 4]);
  assert.deepEqual(view.box(0), [0, 0, 1, 1]);
  assert.deepEqual(view.box(4), [2, 0, 3, 0]);
  assert.deepEqual(view.box(5), [2, 0, 3, 1]);
  assert.deepEqual(view.box(6), [0, 0, 3, 1]);
});

for (const seed of [0, 1, 2]) {
  test(`random view ${seed}: a border is there from the first cut that parts the neighbours`, () => {
    const tree = randomTree(12, seed);
    const next = random(seed + 10);
    const [height, width] = [7, 9];
    const labels = Uint16Array.from({ length: height * width }, () => Math.floor(12 * next()));
    const { borders } = new View(tree, labels, [height, width]);
    for (let i = 0; i < labels.length; i++) {
      /** @type {number[]} */
      const neighbours = [];
      if ((i + 1) % width) neighbours.push(labels[i + 1]);
      if (i + width < labels.length) neighbours.push(labels[i + width]);
      for (let m = 0; m <= tree.divisions.length; m++) {
        const regions = tree.regionsOf(m);
        const apart = neighbours.filter((leaf) => regions[leaf] !== regions[labels[i]]);
        assert.equal(borders[i] < m, apart.length > 0);
      }
    }
  });
}

test("an outline is what lies near the edge of a node or of the image", () => {
  const tree = handTree();
  const labels = new Uint16Array(49).fill(3);
  for (let y = 1; y < 6; y++) labels.fill(0, 7 * y + 1, 7 * y + 6); // 5 by 5 pixels in the middle
  const view = new View(tree, labels, [7, 7]);
  const inner = (/** @type {number} */ thick) => 25 - view.outline(0, thick).length;
  assert.equal(inner(1), 9);
  assert.equal(inner(2), 1);
  assert.equal(view.outline(6, 1).length, 24); // the frame of the whole image
});

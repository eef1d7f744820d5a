import assert from "node:assert/strict";
import { test } from "node:test";

import { Tree } from "../../src/regiontree/viewer/web/tree.js";
import { handTree, randomTree } from "./trees.js";

/**
 * The leaves below a node, by the definition.
 *
 * @param {Tree} tree
 * @param {number} node
 * @returns {number[]}
 */
function leavesBelow(tree, node) {
  if (!tree.children[node].length) return [node];
  return tree.children[node].flatMap((child) => leavesBelow(tree, child));
}

/**
 * The regions of a cut, found by making its divisions one by one.
 *
 * @param {Tree} tree
 * @param {number} m
 */
function slowCut(tree, m) {
  let regions = [tree.root];
  for (const divided of tree.divisions.slice(0, m)) {
    regions = regions.flatMap((node) => (node === divided ? tree.children[node] : [node]));
  }
  return regions.sort((a, b) => a - b);
}

test("the hand-made tree is what the drawing says", () => {
  const tree = handTree();
  assert.equal(tree.root, 6);
  assert.equal(tree.leaves, 4);
  assert.equal(tree.depth, 3);
  assert.equal(tree.most, 4);
  assert.deepEqual([...tree.level], [1, 3, 3, 2, 2, 1, 0]);
  assert.deepEqual([...tree.below], [0, 0, 0, 0, 2, 4, 6]);
  assert.deepEqual(tree.children, [[], [], [], [], [1, 2], [3, 4], [0, 5]]);
  assert.deepEqual(tree.counts, [1, 2, 3, 4]);
  assert.deepEqual(tree.path(2), [6, 5, 4, 2]);
  assert.deepEqual([...tree.inside(5)], [0, 1, 1, 1, 1, 1, 0]);
  assert.deepEqual([...tree.inside(-1)], [0, 0, 0, 0, 0, 0, 0]);
});

test("a cut gives each leaf its region", () => {
  const tree = handTree();
  assert.deepEqual([...tree.regionsOf(0)], [6, 6, 6, 6, 6, 6, 6]);
  assert.deepEqual([...tree.regionsOf(2)], [0, 4, 4, 3, 4, -1, -1]);
  assert.deepEqual([...tree.regionNumbers(2)], [0, 2, 2, 1, 2, -1, -1]);
});

test("two leaves part at the division of the lowest node above both", () => {
  const tree = handTree();
  assert.equal(tree.divisionBetween(1, 2), 2);
  assert.equal(tree.divisionBetween(2, 3), 1);
  assert.equal(tree.divisionBetween(0, 2), 0);
});

for (const seed of [0, 1, 2, 3]) {
  test(`random tree ${seed}: every cut is that of its divisions made one by one`, () => {
    const tree = randomTree(30, seed);
    for (let m = 0; m <= tree.divisions.length; m++) {
      const expected = slowCut(tree, m);
      assert.equal(tree.counts[m], expected.length);
      const regions = tree.regionsOf(m);
      const numbers = tree.regionNumbers(m);
      expected.forEach((region, number) => {
        for (const leaf of leavesBelow(tree, region)) {
          assert.equal(regions[leaf], region);
          assert.equal(numbers[leaf], number);
        }
      });
    }
  });

  test(`random tree ${seed}: stepOf finds the finest cut with at most k regions`, () => {
    const tree = randomTree(30, seed);
    for (let k = 1; k <= 31; k++) {
      const finest = tree.counts.findLastIndex((count) => count <= k);
      assert.equal(tree.steps[tree.stepOf(k)], finest);
    }
  });

  test(`random tree ${seed}: a leaf parts from another where their regions first differ`, () => {
    const tree = randomTree(30, seed);
    for (let a = 0; a < tree.leaves; a += 3) {
      for (let b = a + 1; b < tree.leaves; b += 4) {
        let m = 0;
        while (tree.regionsOf(m)[a] === tree.regionsOf(m)[b]) m++;
        assert.equal(tree.divisionBetween(a, b), m - 1);
      }
    }
  });
}

test("a tree of one node has one cut", () => {
  const tree = new Tree({ parents: [0], area: [600], divisions: [] });
  assert.equal(tree.most, 1);
  assert.deepEqual(tree.steps, [0]);
  assert.deepEqual([...tree.regionsOf(0)], [0]);
});

import assert from "node:assert/strict";
import { test } from "node:test";

import { Cut, heirs } from "../../src/regiontree/viewer/web/cutting.js";
import { randomTree } from "./trees.js";

test("a cut shows as many categories as were asked for, and they hold every leaf", () => {
  const tree = randomTree(30, 1);
  for (let count = 1; count <= tree.most; count++) {
    const cut = new Cut(tree, count);
    assert.equal(cut.nodes().length, cut.count);
    assert.ok(cut.count <= count);
    const shown = new Set(cut.nodes());
    for (const region of cut.regions().subarray(0, tree.leaves)) assert.ok(shown.has(region));
  }
});

test("a split category is shown as its children, and joined again it is whole", () => {
  const tree = randomTree(30, 2);
  const cut = new Cut(tree, 4);
  const before = cut.nodes();
  const node = before.find((one) => tree.children[one].length) ?? -1;
  cut.open(node);
  const children = tree.children[node];
  assert.deepEqual(new Set(cut.nodes()), new Set([...before.filter((one) => one !== node), ...children]));
  assert.equal(cut.close(children[0]), node);
  assert.deepEqual(cut.nodes(), before);
});

test("joining goes up to the root, and a new number starts again", () => {
  const tree = randomTree(30, 3);
  const cut = new Cut(tree, 8);
  const before = cut.nodes();
  let node = before[0];
  while (node !== tree.root) node = cut.close(node);
  assert.deepEqual(cut.nodes(), [tree.root]);
  cut.close(tree.root);
  assert.deepEqual(cut.nodes(), [tree.root]);
  cut.setCount(8);
  assert.deepEqual(cut.nodes(), before);
});

test("a step goes to the next number that there is, and stops at the ends", () => {
  const tree = randomTree(12, 4);
  const cut = new Cut(tree, 1);
  const seen = [cut.count];
  for (let i = 0; i < tree.steps.length + 3; i++) {
    cut.step(1);
    seen.push(cut.count);
  }
  assert.deepEqual([...new Set(seen)], tree.steps.map((m) => tree.counts[m]));
  cut.step(-Infinity);
  assert.equal(cut.count, 1);
});

test("an heir is a leaf of the category, in its largest child", () => {
  const tree = randomTree(20, 5);
  const found = heirs(tree);
  for (let node = 0; node <= tree.root; node++) {
    assert.ok(found[node] < tree.leaves);
    assert.ok(tree.inside(node)[found[node]]);
    if (tree.children[node].length) assert.equal(found[node], found[tree.children[node][0]]);
  }
});

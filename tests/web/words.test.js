import assert from "node:assert/strict";
import { test } from "node:test";

import { grouped, percent, plural, Words } from "../../src/regiontree/viewer/web/words.js";
import { HAND, handTree } from "./trees.js";

/** @import { Payload } from "../../src/regiontree/viewer/web/payload.js" */

const NO_LINKS = {
  index: null, previous: null, next: null, tree: null, mask: null, cut: null, whole: null, pieces: null,
};

/**
 * @param {Partial<Payload>} changes
 * @returns {Payload}
 */
function payload(changes = {}) {
  return {
    ...HAND,
    name: "a.jpg",
    notices: [],
    links: NO_LINKS,
    shape: [2, 4],
    view: [2, 4],
    labels: "",
    label_bytes: 2,
    height: [0, 0, 0, 0, 0.25, 0.5, 1],
    ncut: null,
    stop: [4, 1, 1, 2, 0, 0, 0],
    stability: null,
    reasons: { 0: "divided", 1: "a single part", 2: "deepest level", 4: "limit" },
    natural: 1,
    colors: "",
    means: null,
    photo: null,
    tree: "",
    whole: true,
    ...changes,
  };
}

test("numbers have a comma between thousands", () => {
  assert.deepEqual([0, 999, 1000, 65_535, 1_234_567].map(grouped),
    ["0", "999", "1,000", "65,535", "1,234,567"]);
});

test("one thing is singular", () => {
  assert.equal(plural(1, "node"), "1 node");
  assert.equal(plural(0, "node"), "0 nodes");
  assert.equal(plural(2000, "node"), "2,000 nodes");
});

test("small shares keep two digits", () => {
  assert.deepEqual([1, 0.123, 0.05, 0.00123, 0].map(percent),
    ["100\u00a0%", "12\u00a0%", "5.0\u00a0%", "0.12\u00a0%", "0\u00a0%"]);
});

test("a leaf says why it ends, a division says into how many regions", () => {
  const words = new Words(handTree(), payload());
  const leaf = Object.fromEntries(words.facts(1));
  assert.equal(leaf.Area, "1 pixel, 13\u00a0%");
  assert.equal(leaf.Depth, "3 of 3");
  assert.equal(leaf.Ends, "a single part");
  assert.equal(leaf.Divided, undefined);
  const division = Object.fromEntries(words.facts(4));
  assert.equal(division.Divided, "into 2 regions");
  assert.equal(division.Ends, undefined);
  assert.equal(words.title(6), "Whole image");
  assert.match(words.sentence(4), /^Region 4: 25\u00a0% of the image, depth 2 of 3, height 0\.25/);
});

test("the normalised cut is told of all nodes but the root, if the tree has one", () => {
  const words = new Words(handTree(), payload({ ncut: [0.1, 0.2, 0.3, 0.4, 0.5, 0.61234, 0] }));
  assert.equal(Object.fromEntries(words.facts(5))["Normalised cut"], "0.612");
  assert.equal(Object.fromEntries(words.facts(6))["Normalised cut"], undefined);
});

test("the stability is told of all nodes but rests, if the tree has one", () => {
  const words = new Words(handTree(), payload({ stability: [0, null, 0.123, 0.25, 0.5, 0.746, 1] }));
  assert.equal(Object.fromEntries(words.facts(5)).Stability, "0.75");
  assert.equal(Object.fromEntries(words.facts(6)).Stability, "1.00");
  assert.equal(Object.fromEntries(words.facts(0)).Stability, "0.00");
  assert.equal(Object.fromEntries(words.facts(1)).Stability, undefined);
  assert.equal(Object.fromEntries(new Words(handTree(), payload()).facts(5)).Stability, undefined);
});

test("downloads that differ from the original say so", () => {
  const tree = handTree();
  const note = (/** @type {Partial<Payload>} */ changes) =>
    new Words(tree, payload(changes)).downloadNote();
  assert.equal(note({}), "");
  assert.match(note({ shape: [20, 40] }), /4 × 2 pixels/);
  assert.equal(note({ shape: [20, 40], links: { ...NO_LINKS, mask: "m", cut: "c" } }), "");
  assert.match(note({ whole: false }), /embedding/);
});

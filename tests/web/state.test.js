import assert from "node:assert/strict";
import { test } from "node:test";

import { State } from "../../src/regiontree/viewer/web/state.js";
import { handTree, randomTree } from "./trees.js";

/** @import { Change, Direction } from "../../src/regiontree/viewer/web/state.js" */

/**
 * What was told, in order.
 *
 * @param {State} state
 */
function toldBy(state) {
  /** @type {Change[]} */
  const told = [];
  /** @type {Change[]} */
  const changes = ["cut", "selection", "hover", "looks", "palette"];
  for (const change of changes) state.on([change], () => told.push(change));
  return told;
}

test("walking: up to the root, down the way it came, sideways among siblings", () => {
  const state = new State(handTree(), 1, true);
  /** @param {Direction[]} directions */
  const walk = (...directions) =>
    directions.map((direction) => {
      state.walk(direction);
      return state.selected;
    });
  state.select(2);
  assert.deepEqual(walk("up", "up", "up", "up"), [4, 5, 6, 6]);
  assert.deepEqual(walk("down", "down", "down", "down"), [5, 4, 2, 2]);
  assert.deepEqual(walk("left", "left", "right", "right"), [1, 1, 2, 2]);
  state.select(6);
  assert.deepEqual(walk("left", "right"), [6, 6]);
});

test("with nothing selected, walking begins at the largest region of the cut", () => {
  const state = new State(handTree(), 2, true);
  state.walk("left");
  assert.equal(state.selected, 0);
});

test("every change is told once, and no change is not told", () => {
  const state = new State(handTree(), 1, true);
  const told = toldBy(state);
  state.setCut(1);
  state.select(-1);
  state.hover(-1);
  assert.deepEqual(told, []);
  state.hover(3);
  state.setCut(2);
  assert.deepEqual(told.splice(0), ["hover", "hover", "cut"]);
  assert.equal(state.hovered, -1);
  state.select(4);
  assert.deepEqual(told.splice(0), ["selection"]);
  state.setLooks({ ...state.looks, opacity: 1 });
  assert.deepEqual(told.splice(0), ["looks"]);
  state.setLooks({ ...state.looks, palette: "distinct" });
  assert.deepEqual(told.splice(0), ["looks", "palette"]);
});

test("steps visit every number of regions there is, and stop at both ends", () => {
  const tree = randomTree(40, 5);
  const state = new State(tree, 0, false);
  const seen = [state.count];
  while (seen.length < tree.steps.length) {
    state.step(1);
    seen.push(state.count);
  }
  assert.deepEqual(seen, [...new Set(tree.counts)]);
  state.step(1);
  assert.equal(state.count, tree.most);
  state.step(-Infinity);
  assert.equal(state.count, 1);
  state.step(Infinity);
  assert.equal(state.count, tree.most);
});

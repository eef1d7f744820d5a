// Trees to test with: one by hand, and random ones.

import { Tree } from "../../src/regiontree/viewer/web/tree.js";

/**
 * Four leaves under three divisions. The picture is 2 by 4 pixels:
 *
 *     0 0 1 2          6
 *     0 0 3 3          ├─ 0
 *                      └─ 5
 *                         ├─ 3
 *                         └─ 4: 1, 2
 */
export const HAND = {
  parents: [6, 4, 4, 5, 5, 6, 6],
  area: [4, 1, 1, 2, 2, 4, 8],
  divisions: [6, 5, 4],
};
export const HAND_LABELS = Uint16Array.of(0, 0, 1, 2, 0, 0, 3, 3);

export function handTree() {
  return new Tree(HAND);
}

/**
 * Numbers from 0 to 1, the same for the same seed (a linear congruential generator).
 *
 * @param {number} seed
 */
export function random(seed) {
  let state = seed + 1;
  return () => {
    state = (1664525 * state + 1013904223) % 2 ** 32;
    return state / 2 ** 32;
  };
}

/**
 * A tree of single-pixel leaves whose divisions have one to four children.
 *
 * @param {number} leaves
 * @param {number} seed
 */
export function randomTree(leaves, seed) {
  const next = random(seed);
  const parents = Array(leaves).fill(-1);
  const area = Array(leaves).fill(1);
  let roots = parents.map((_, node) => node);
  while (roots.length > 1) {
    const size = Math.min(roots.length, 1 + Math.floor(4 * next()));
    const node = parents.length;
    parents.push(-1);
    area.push(0);
    for (let i = 0; i < size; i++) {
      const [child] = roots.splice(Math.floor(next() * roots.length), 1);
      parents[child] = node;
      area[node] += area[child];
    }
    roots = [...roots, node];
  }
  parents[parents.length - 1] = parents.length - 1;
  // Any order in which parents are divided before their children will do: here, by number.
  const divisions = [];
  for (let node = parents.length - 1; node >= leaves; node--) divisions.push(node);
  return new Tree({ parents, area, divisions });
}

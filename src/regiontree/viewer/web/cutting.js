// Which categories are shown: a cut of the tree of categories, in which single ones may be split
// further or joined.

/** @import { Tree } from "./tree.js" */

export class Cut {
  /**
   * @param {Tree} tree
   * @param {number} count - how many categories, at most
   */
  constructor(tree, count) {
    this.tree = tree;
    /** @type {Set<number>} categories that are split although the cut does not divide them */
    this.split = new Set();
    /** @type {Set<number>} categories that are whole although the cut divides them */
    this.whole = new Set();
    this.m = 0;
    this.setCount(count);
  }

  /** How many categories the cut has, before some are split or joined. */
  get count() {
    return this.tree.counts[this.m];
  }

  /**
   * Make another cut. Nothing is split or joined any more.
   *
   * @param {number} count - how many categories, at most
   */
  setCount(count) {
    this.split.clear();
    this.whole.clear();
    this.m = this.tree.steps[this.tree.stepOf(count)];
  }

  /**
   * Make the next finer cut, or a coarser one if the number of steps is negative.
   *
   * @param {number} steps
   */
  step(steps) {
    const { tree } = this;
    const place = tree.stepOf(this.count) + steps;
    this.setCount(tree.counts[tree.steps[Math.max(0, Math.min(tree.steps.length - 1, place))]]);
  }

  /** @param {number} node */
  isDivided(node) {
    const { tree } = this;
    if (!tree.children[node].length || this.whole.has(node)) return false;
    return this.split.has(node) || tree.dividedBy[node] < this.m;
  }

  /** For each category, the shown one that holds it; -1 for one that is divided. */
  regions() {
    const { parents, root } = this.tree;
    const found = new Int32Array(parents.length);
    for (let node = root; node >= 0; node--) {
      const above = node === root ? -1 : found[parents[node]];
      found[node] = above >= 0 ? above : this.isDivided(node) ? -1 : node;
    }
    return found;
  }

  /** The categories that are shown, in the order of their numbers. */
  nodes() {
    return Array.from(this.regions().entries()).flatMap(([node, region]) =>
      node === region ? [node] : [],
    );
  }

  /**
   * Show the children of a category instead of it.
   *
   * @param {number} node
   */
  open(node) {
    this.whole.delete(node);
    this.split.add(node);
  }

  /**
   * Show the category above instead of this one and the others below it. Returns that category.
   *
   * @param {number} node
   */
  close(node) {
    const { tree } = this;
    const above = node === tree.root ? node : tree.parents[node];
    const inside = tree.inside(above);
    for (const set of [this.split, this.whole]) {
      for (const one of [...set]) if (inside[one]) set.delete(one);
    }
    this.whole.add(above);
    return above;
  }
}

/**
 * The finest category that stands for each category where it is divided: that of its largest child.
 *
 * @param {Tree} tree
 */
export function heirs(tree) {
  const found = Int32Array.from(tree.parents, (_, node) => node);
  for (let node = tree.leaves; node <= tree.root; node++) {
    found[node] = found[tree.children[node][0]];
  }
  return found;
}

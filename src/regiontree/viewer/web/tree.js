// The tree as flat arrays: leaves first, every parent after its children, the root last.
//
// A cut is a number m: the first m divisions are made, the others are not. The tree finds out once
// which division divides which node. After that, a cut costs one comparison with m for each node.

export class Tree {
  /**
   * @param {object} arrays
   * @param {number[]} arrays.parents - the parent of each node
   * @param {number[]} arrays.area - the pixels of each node
   * @param {number[]} arrays.divisions - inner nodes in the order in which cuts divide them
   */
  constructor({ parents, area, divisions }) {
    this.parents = Int32Array.from(parents);
    this.area = area;
    this.divisions = divisions;
    this.root = parents.length - 1;
    this.leaves = parents.length - divisions.length;
    /** @type {number[][]} the children of each node, largest first */
    this.children = parents.map(() => []);
    /** How many nodes lie below each node. */
    this.below = new Int32Array(parents.length);
    for (let i = 0; i < this.root; i++) {
      this.children[parents[i]].push(i);
      this.below[parents[i]] += this.below[i] + 1;
    }
    for (const siblings of this.children) siblings.sort((a, b) => area[b] - area[a] || a - b);
    /** How many steps each node lies below the root. */
    this.level = new Int32Array(parents.length);
    for (let i = this.root - 1; i >= 0; i--) this.level[i] = this.level[parents[i]] + 1;
    this.depth = this.level.reduce((a, b) => Math.max(a, b));
    /** The division that divides each node. No cut divides a leaf, so leaves have the last m. */
    this.dividedBy = new Int32Array(parents.length).fill(divisions.length);
    /** How many regions there are after m divisions. */
    this.counts = [1];
    divisions.forEach((node, m) => {
      this.dividedBy[node] = m;
      this.counts.push(this.counts[m] + this.children[node].length - 1);
    });
    /** The cuts that a number of regions can ask for. Of equal numbers, the finest cut counts. */
    this.steps = this.counts.flatMap((count, m) => (count === this.counts[m + 1] ? [] : [m]));
  }

  /** The largest number of regions. */
  get most() {
    return this.counts[this.divisions.length];
  }

  /**
   * The place in `steps` of the finest cut into at most k regions.
   *
   * @param {number} k
   */
  stepOf(k) {
    let low = 0;
    let high = this.steps.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.counts[this.steps[middle]] <= k) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /**
   * For each node, the region of cut m that contains it; -1 for a node that the cut divides.
   *
   * @param {number} m
   */
  regionsOf(m) {
    const regions = new Int32Array(this.parents.length);
    for (let i = this.root; i >= 0; i--) {
      const above = i === this.root ? -1 : regions[this.parents[i]];
      if (above >= 0) regions[i] = above;
      else regions[i] = this.dividedBy[i] >= m ? i : -1;
    }
    return regions;
  }

  /**
   * For each node, the number of its region in cut m; -1 for a node that the cut divides.
   * Regions are numbered from 0 in the order of their nodes.
   *
   * @param {number} m
   */
  regionNumbers(m) {
    const regions = this.regionsOf(m);
    let count = 0;
    const numbers = regions.map((region, node) => (region === node ? count++ : -1));
    return regions.map((region) => (region < 0 ? -1 : numbers[region]));
  }

  /**
   * For each node, 1 if it is the given node or lies below it, else 0.
   *
   * @param {number} node - -1 stands for no node
   */
  inside(node) {
    const inside = new Uint8Array(this.parents.length);
    if (node < 0) return inside;
    inside[node] = 1;
    for (let i = node - 1; i >= 0; i--) inside[i] = inside[this.parents[i]];
    return inside;
  }

  /**
   * The nodes from the root down to the given node.
   *
   * @param {number} node
   */
  path(node) {
    const path = [node];
    while (path[0] !== this.root) path.unshift(this.parents[path[0]]);
    return path;
  }

  /**
   * The division that puts two leaves into different regions.
   * It is the one that divides the lowest node above both.
   *
   * @param {number} a
   * @param {number} b
   */
  divisionBetween(a, b) {
    while (a !== b) {
      if (a < b) a = this.parents[a];
      else b = this.parents[b];
    }
    return this.dividedBy[a];
  }
}

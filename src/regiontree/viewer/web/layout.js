// Where the bars of the icicle lie, in units that do not depend on the size of the canvas.
//
// Across lies granularity, on the scale of scale.js. Down lies area, as a share of the image. The bar
// of a node begins at the cut in which the node appears and ends at the cut that divides it. So the
// column under the slider's thumb is the cut that the photograph shows.

import { positionOf } from "./scale.js";

/** @import { Tree } from "./tree.js" */

export class Layout {
  /** @param {Tree} tree */
  constructor(tree) {
    const { parents, children, counts, dividedBy, root, most } = tree;
    this.tree = tree;
    /** The share of the image that each node covers. */
    this.shares = tree.area.map((area) => area / tree.area[root]);
    /** The share of the image that lies above the bar of each node. */
    this.tops = new Float64Array(parents.length);
    for (let node = root; node >= 0; node--) {
      let top = this.tops[node];
      for (const child of children[node]) {
        this.tops[child] = top;
        top += this.shares[child];
      }
    }
    /**
     * Where the bar of each node begins. A division turns one cut into the next. The bars of the
     * children begin halfway between these two cuts.
     */
    this.begins = Float64Array.from(parents, (parent, node) => {
      if (node === root) return -1;
      const m = dividedBy[parent];
      return positionOf(Math.sqrt(counts[m] * counts[m + 1]), most);
    });
    /** Where the bar of each node ends. The bars of leaves never end, so they end outside. */
    this.ends = children.map((nodes) => (nodes.length ? this.begins[nodes[0]] : 2));
  }

  /**
   * The node whose bar contains a point.
   *
   * @param {number} position - across
   * @param {number} share - down
   */
  nodeAt(position, share) {
    const { begins, tops, shares, tree } = this;
    /** @param {number} node */
    const contains = (node) =>
      begins[node] <= position && tops[node] <= share && share < tops[node] + shares[node];
    let node = tree.root;
    for (;;) {
      const child = tree.children[node].find(contains);
      if (child === undefined) return node;
      node = child;
    }
  }
}

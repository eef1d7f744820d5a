// The pixels of the view: the leaf of each, and the first cut that draws a border there.

/**
 * @import { Labels } from "./payload.js"
 * @import { Tree } from "./tree.js"
 */

const WIDE = 720; // pixels from which on borders are two pixels thick
const NO_BORDER = 0xffffffff;

export class View {
  /**
   * @param {Tree} tree
   * @param {Labels} labels
   * @param {[number, number]} shape - height and width
   */
  constructor(tree, labels, [height, width]) {
    this.tree = tree;
    this.labels = labels;
    this.height = height;
    this.width = width;
    /** The thickness of borders in pixels. */
    this.thick = Math.max(width, height) > WIDE ? 2 : 1;
    /** For each pixel, the first division that draws a border there. */
    this.borders = new Uint32Array(labels.length).fill(NO_BORDER);
    /** The left, top, right and bottom of each node, in pixels. */
    this.boxes = new Int32Array(4 * tree.parents.length);
    for (let node = 0; node <= tree.root; node++) {
      this.boxes.set([width, height, -1, -1], 4 * node);
    }
    this.#readPixels();
    for (let i = 0; i < tree.root; i++) this.#grow(tree.parents[i], ...this.box(i));
  }

  #readPixels() {
    const { labels, width, height } = this;
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0, start = 0; x < width; x++, i++) {
        const leaf = labels[i];
        if (y + 1 < height && labels[i + width] !== leaf) this.#mark(i, i + width);
        if (x + 1 < width && labels[i + 1] === leaf) continue;
        if (x + 1 < width) this.#mark(i, i + 1);
        this.#grow(leaf, start, y, x, y); // a run of one leaf ends here
        start = x + 1;
      }
    }
  }

  /**
   * Note the border between two neighbouring pixels.
   *
   * @param {number} i
   * @param {number} j
   */
  #mark(i, j) {
    const { borders, labels } = this;
    const division = this.tree.divisionBetween(labels[i], labels[j]);
    if (division < borders[i]) borders[i] = division;
    if (this.thick > 1 && division < borders[j]) borders[j] = division;
  }

  /**
   * Make the box of a node large enough for another box.
   *
   * @param {number} node
   * @param {number} left
   * @param {number} top
   * @param {number} right
   * @param {number} bottom
   */
  #grow(node, left, top, right, bottom) {
    const { boxes } = this;
    const at = 4 * node;
    if (left < boxes[at]) boxes[at] = left;
    if (top < boxes[at + 1]) boxes[at + 1] = top;
    if (right > boxes[at + 2]) boxes[at + 2] = right;
    if (bottom > boxes[at + 3]) boxes[at + 3] = bottom;
  }

  /**
   * The left, top, right and bottom of a node, in pixels.
   *
   * @param {number} node
   * @returns {[number, number, number, number]}
   */
  box(node) {
    const [left, top, right, bottom] = this.boxes.subarray(4 * node, 4 * node + 4);
    return [left, top, right, bottom];
  }

  /**
   * The pixels of a node that lie at most `thick` pixels from its edge.
   *
   * @param {number} node
   * @param {number} thick
   */
  outline(node, thick) {
    const { labels, width, height } = this;
    const inside = this.tree.inside(node);
    const [left, top, right, bottom] = this.box(node);
    const found = [];
    for (let y = top; y <= bottom; y++) {
      for (let x = left, i = y * width + left; x <= right; x++, i++) {
        if (!inside[labels[i]]) continue;
        const surrounded =
          x >= thick && x < width - thick && y >= thick && y < height - thick &&
          inside[labels[i - thick]] && inside[labels[i + thick]] &&
          inside[labels[i - thick * width]] && inside[labels[i + thick * width]];
        if (!surrounded) found.push(i);
      }
    }
    return found;
  }
}

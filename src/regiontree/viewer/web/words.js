// What the page says about a tree, a region and a cut. All functions here are pure.

/**
 * @import { Payload } from "./payload.js"
 * @import { Tree } from "./tree.js"
 */

/**
 * A whole number with a comma between thousands. `Intl` can do this, but takes 30 ms to load.
 *
 * @param {number} number
 */
export function grouped(number) {
  return String(number).replace(/\B(?=(\d{3})+$)/g, ",");
}

/**
 * A number and its noun: "1 region", "2,000 regions".
 *
 * @param {number} count
 * @param {string} noun
 */
export function plural(count, noun) {
  return `${grouped(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/**
 * A share, 0 to 1, in percent: two digits at least.
 *
 * @param {number} share
 */
export function percent(share) {
  const value = 100 * share;
  return `${value >= 10 || value === 0 ? value.toFixed(0) : value.toPrecision(2)}\u00a0%`;
}

/** @param {number} value */
function threeDigits(value) {
  return `${Number(value.toPrecision(3))}`;
}

export class Words {
  /**
   * @param {Tree} tree
   * @param {Payload} data
   */
  constructor(tree, data) {
    this.tree = tree;
    this.data = data;
  }

  /** @param {number} node */
  share(node) {
    return percent(this.tree.area[node] / this.tree.area[this.tree.root]);
  }

  /** @param {number} node */
  title(node) {
    return node === this.tree.root ? "Whole image" : `Region ${node}`;
  }

  /**
   * Names and values of what is known about a region. The area comes first.
   *
   * @param {number} node
   * @returns {[string, string][]}
   */
  facts(node) {
    const { tree, data } = this;
    const children = tree.children[node].length;
    /** @type {[string, string][]} */
    const facts = [
      ["Area", `${plural(data.area[node], "pixel")}, ${this.share(node)}`],
      ["Depth", `${tree.level[node]} of ${tree.depth}`],
      ["Height", threeDigits(data.height[node])],
      ["Below", plural(tree.below[node], "node")],
      children
        ? ["Divided", `into ${plural(children, "region")}`]
        : ["Ends", data.reasons[data.stop[node]]],
    ];
    if (data.ncut && node !== tree.root) {
      facts.push(["Normalised cut", threeDigits(data.ncut[node])]);
    }
    const stability = data.stability?.[node] ?? null; // a rest has none
    if (stability !== null) facts.push(["Stability", stability.toFixed(2)]);
    return facts;
  }

  /**
   * A sentence about a region, for a screen reader.
   *
   * @param {number} node
   */
  sentence(node) {
    const [, ...others] = this.facts(node);
    const facts = others.map(([name, value]) => `${name.toLowerCase()} ${value}`).join(", ");
    return `${this.title(node)}: ${this.share(node)} of the image, ${facts}.`;
  }

  /** The line beside the name of the image. */
  summary() {
    const [height, width] = this.data.shape;
    return [
      `${grouped(width)} × ${grouped(height)} pixels`,
      plural(this.tree.parents.length, "node"),
      `depth ${this.tree.depth}`,
    ].join(", ");
  }

  /** How the downloads differ from the original, or nothing. */
  downloadNote() {
    const { links, shape, view, whole } = this.data;
    const scaled = view[0] !== shape[0] || view[1] !== shape[1];
    const notes = [];
    if (scaled && !(links.mask && links.cut)) {
      notes.push(`Images as shown here, ${view[1]} × ${view[0]} pixels.`);
    }
    if (!whole) notes.push("The tree without its embedding and descriptors.");
    return notes.join(" ");
  }
}

// Colours of nodes: three palettes, as numbers for pixels and as text for CSS.

/**
 * @import { Payload } from "./payload.js"
 * @import { PaletteName } from "./state.js"
 * @import { Tree } from "./tree.js"
 * @typedef {Uint8Array | Uint8ClampedArray} Colors - red, green and blue of each node
 */

const GOLDEN_ANGLE = 222.492; // degrees: multiples of it never come close to each other soon

/**
 * Colours from six hexadecimal digits each.
 *
 * @param {string} hex
 */
export function hexColors(hex) {
  return Uint8Array.from(hex.match(/../g) ?? [], (digits) => parseInt(digits, 16));
}

/**
 * A pixel of a canvas.
 *
 * @param {number} red - 0 to 255, green and blue likewise
 * @param {number} green
 * @param {number} blue
 * @param {number} alpha - 0 to 1
 */
export function pixel(red, green, blue, alpha) {
  return ((Math.round(255 * alpha) << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/**
 * The nodes of a tree, each before its children, and largest children first.
 *
 * @param {Tree} tree
 */
export function preorder(tree) {
  const found = [];
  const stack = [tree.root];
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    found.push(node);
    for (const child of tree.children[node].toReversed()) stack.push(child);
  }
  return found;
}

/**
 * Colours that differ much between neighbours in the tree. The browser computes them from OKLCH, a
 * colour space in which equal steps look equal.
 *
 * @param {Tree} tree
 * @returns {Colors}
 */
export function distinctColors(tree) {
  const canvas = new OffscreenCanvas(256, Math.ceil(tree.parents.length / 256)); // a pixel a node
  const brush = canvas.getContext("2d", { willReadFrequently: true });
  if (!brush) throw new Error("this browser cannot draw on a canvas");
  preorder(tree).forEach((node, rank) => {
    brush.fillStyle = `oklch(${0.6 + 0.1 * (rank % 4)} 0.14 ${(rank * GOLDEN_ANGLE) % 360})`;
    brush.fillRect(node & 255, node >> 8, 1, 1);
  });
  const { data } = brush.getImageData(0, 0, canvas.width, canvas.height);
  return data.filter((_, i) => i % 4 < 3);
}

export class Palettes {
  /** @type {Map<PaletteName, string[]>} */
  #css = new Map();

  /**
   * @param {Tree} tree
   * @param {Payload} data
   */
  constructor(tree, data) {
    this.tree = tree;
    const hierarchy = hexColors(data.colors);
    /** @type {Record<PaletteName, Colors>} */
    this.colors = {
      hierarchy,
      distinct: distinctColors(tree),
      means: data.means ? hexColors(data.means) : hierarchy,
    };
  }

  /**
   * The colours of a palette as CSS writes them. They are made when they are first needed.
   *
   * @param {PaletteName} name
   */
  css(name) {
    const known = this.#css.get(name);
    if (known) return known;
    const colors = this.colors[name];
    const css = Array.from(this.tree.parents, (_, node) => {
      return `rgb(${colors.subarray(3 * node, 3 * node + 3).join(" ")})`;
    });
    this.#css.set(name, css);
    return css;
  }
}

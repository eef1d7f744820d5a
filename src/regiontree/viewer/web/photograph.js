// The photograph under the colours of a cut.
//
// A frame needs one pass over the pixels. All that the pass looks up is in small tables: one by leaf
// for colours, one by division for the strength of borders.

import { brushOf, byId } from "./elements.js";
import { pixel } from "./palettes.js";

/**
 * @import { Palettes } from "./palettes.js"
 * @import { State } from "./state.js"
 * @import { View } from "./view.js"
 */

const TONES = 8; // strengths of a border
const DIMMED = { color: [14, 15, 18], alpha: 0.66 }; // what is not selected
const SELECTED_OUTLINE = 0xffffffff;
const HOVERED_OUTLINE = 0xe6ffffff;
const COARSE = 200; // pixels: a smaller image is enlarged without smoothing

/**
 * A function that paints every pixel from the tables.
 *
 * It is a closure and no method: Chromium compiles a loop over constant arrays to code that needs
 * little more than half the time of a loop over arrays in fields.
 *
 * @param {View} view
 * @param {object} tables
 * @param {Uint32Array} tables.pixels
 * @param {Uint32Array} tables.fill
 * @param {Uint32Array} tables.limit
 * @param {Uint32Array} tables.lines
 * @param {Uint8Array} tables.strength
 */
function painter({ labels, borders }, { pixels, fill, limit, lines, strength }) {
  return () => {
    for (let i = 0; i < pixels.length; i++) {
      const leaf = labels[i];
      const border = borders[i];
      pixels[i] = border < limit[leaf] ? lines[TONES * leaf + strength[border]] : fill[leaf];
    }
  };
}

export class Photograph {
  #canvas = byId("regions", HTMLCanvasElement);
  #photo = byId("photo", HTMLImageElement);
  #brush = brushOf(this.#canvas);
  /** @type {Map<number, number[]>} the outlines of the nodes that were drawn last */
  #outlines = new Map();

  /**
   * @param {View} view
   * @param {State} state
   * @param {Palettes} palettes
   * @param {string} name - of the image
   */
  constructor(view, state, palettes, name) {
    const { width, height, tree } = view;
    this.view = view;
    this.state = state;
    this.palettes = palettes;
    this.#canvas.width = width;
    this.#canvas.height = height;
    this.image = this.#brush.createImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    /** The colour of each leaf. */
    this.fill = new Uint32Array(tree.leaves);
    /** For each leaf, the number of divisions whose borders are drawn there. */
    this.limit = new Uint32Array(tree.leaves);
    /** The colours of borders, one for each leaf and strength. */
    this.lines = new Uint32Array(TONES * tree.leaves);
    /** The strength of the borders that each division draws, 0 to TONES - 1. */
    this.strength = new Uint8Array(tree.divisions.length);
    this.paint = painter(view, this);
    byId("frame", HTMLElement).classList.toggle("coarse", Math.max(width, height) < COARSE);
    document.documentElement.style.setProperty("--ratio", String(width / height));
    const describe = () => {
      const regions = `${state.count} region${state.count === 1 ? "" : "s"}`;
      this.#canvas.ariaLabel = `${name}, divided into ${regions}`;
    };
    const reveal = () => (this.#photo.hidden = !state.looks.photo);
    state.on(["cut"], describe);
    state.on(["looks"], reveal);
    describe();
    reveal();
  }

  get canvas() {
    return this.#canvas;
  }

  draw() {
    this.#colorLeaves();
    this.#weighBorders();
    this.paint();
    this.#drawOutlines();
    this.#brush.putImageData(this.image, 0, 0);
    this.#mutePhotograph();
  }

  #colorLeaves() {
    const { fill, limit, lines } = this;
    const { m, selected, hovered, looks } = this.state;
    const { tree } = this.view;
    const regions = tree.regionsOf(m);
    const isSelected = tree.inside(selected);
    const isHovered = tree.inside(hovered);
    const colors = this.palettes.colors[looks.palette];
    for (let leaf = 0; leaf < tree.leaves; leaf++) {
      const region = regions[leaf];
      const dimmed = selected >= 0 && !isSelected[leaf];
      let [red, green, blue] = colors.subarray(3 * region, 3 * region + 3);
      // An undivided image has no regions to tell apart, so the photograph gets no colour.
      let alpha = region === tree.root ? 0 : looks.opacity;
      if (dimmed) {
        [red, green, blue] = DIMMED.color;
        alpha = DIMMED.alpha;
      } else if (selected >= 0 && looks.photo) {
        alpha *= 0.35;
      }
      if (isHovered[leaf]) {
        red += 0.3 * (255 - red);
        green += 0.3 * (255 - green);
        blue += 0.3 * (255 - blue);
        alpha = dimmed ? 0.3 : Math.min(1, alpha + 0.12);
      }
      fill[leaf] = pixel(red, green, blue, alpha);
      limit[leaf] = looks.borders && !dimmed ? m : 0;
      if (!limit[leaf]) continue;
      for (let tone = 0; tone < TONES; tone++) {
        // A border is white over the region's colour: one pixel stands for both layers.
        const white = 0.25 + (0.7 * tone) / (TONES - 1);
        const below = alpha * (1 - white);
        const both = white + below;
        lines[TONES * leaf + tone] = pixel(
          (255 * white + red * below) / both,
          (255 * white + green * below) / both,
          (255 * white + blue * below) / both,
          both,
        );
      }
    }
  }

  /** Early divisions have clear borders, late ones faint borders, so large regions stand out. */
  #weighBorders() {
    const { m } = this.state;
    for (let i = 0; i < m; i++) {
      this.strength[i] = (TONES - 1) * (1 - Math.log(i + 1) / Math.log(m + 1)) + 0.5;
    }
  }

  #drawOutlines() {
    const { selected, hovered } = this.state;
    const { view } = this;
    for (const node of this.#outlines.keys()) {
      if (node !== selected && node !== hovered) this.#outlines.delete(node);
    }
    const thick = view.thick > 1 ? view.thick + 1 : 1;
    for (const [node, color] of [[hovered, HOVERED_OUTLINE], [selected, SELECTED_OUTLINE]]) {
      if (node < 0) continue;
      const outline = this.#outlines.get(node) ?? view.outline(node, thick);
      this.#outlines.set(node, outline);
      for (const i of outline) this.pixels[i] = color;
    }
  }

  /** Under colours the photograph is grey and soft. So the colours look as in the icicle. */
  #mutePhotograph() {
    const { selected, m, looks } = this.state;
    const grey = selected < 0 && m > 0 ? Math.min(1, 1.2 * looks.opacity) : 0;
    this.#photo.style.filter = grey ? `saturate(${1 - grey}) contrast(${1 - 0.3 * grey})` : "";
  }

  /**
   * The region under the pointer, -1 outside of the image. It is a region of the cut; within the
   * selected region, it is the next smaller one.
   *
   * @param {MouseEvent} event
   */
  nodeAt(event) {
    const { labels, width, height, tree } = this.view;
    const box = this.#canvas.getBoundingClientRect();
    const x = Math.floor(((event.clientX - box.left) / box.width) * width);
    const y = Math.floor(((event.clientY - box.top) / box.height) * height);
    if (x < 0 || y < 0 || x >= width || y >= height) return -1;
    const path = tree.path(labels[y * width + x]);
    const depth = path.indexOf(this.state.selected);
    if (depth >= 0) return path[Math.min(depth + 1, path.length - 1)];
    return path.find((node) => tree.dividedBy[node] >= this.state.m) ?? -1;
  }
}

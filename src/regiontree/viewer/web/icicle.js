// The tree as an icicle beside the photograph: one bar for each node, beside the bar of its parent.
//
// A small selection is enlarged. Bars thinner than a line are left out: their parent's bar takes
// their place.

import { brushOf, byId } from "./elements.js";
import { Layout } from "./layout.js";
import { positionOf } from "./scale.js";
import { Zoom } from "./zoom.js";

/**
 * @import { Palettes } from "./palettes.js"
 * @import { State } from "./state.js"
 * @import { Tree } from "./tree.js"
 */

const THUMB = 11; // pixels: half of the slider's thumb, which never leaves the slider
const TAIL = 36; // pixels: the icicle is wider than the slider, so that the last leaves are seen
const THINNEST = 1.5; // pixels of a bar

export class Icicle {
  #canvas = byId("icicle", HTMLCanvasElement);
  #frame = byId("tree", HTMLElement);
  #brush = brushOf(this.#canvas);
  #width = 0;
  #height = 0;

  /**
   * @param {Tree} tree
   * @param {State} state
   * @param {Palettes} palettes
   */
  constructor(tree, state, palettes) {
    this.tree = tree;
    this.state = state;
    this.palettes = palettes;
    this.layout = new Layout(tree);
    this.zoom = new Zoom();
    const still = matchMedia("(prefers-reduced-motion: reduce)");
    state.on(["selection"], () => {
      const { tops, shares } = this.layout;
      const node = state.selected < 0 ? tree.root : state.selected;
      this.zoom.aim(tops[node], shares[node], performance.now(), !still.matches);
    });
    new ResizeObserver(() => this.#resize()).observe(this.#frame);
  }

  get canvas() {
    return this.#canvas;
  }

  #resize() {
    this.#width = this.#frame.clientWidth;
    this.#height = this.#frame.clientHeight;
    this.#canvas.width = Math.round(this.#width * devicePixelRatio);
    this.#canvas.height = Math.round(this.#height * devicePixelRatio);
    this.draw();
  }

  /**
   * The x on the canvas of a position on the slider's scale.
   *
   * @param {number} position
   */
  #across(position) {
    const x = THUMB + position * (this.#width - 2 * THUMB - TAIL);
    return Math.min(this.#width, Math.max(0, x));
  }

  /**
   * The y on the canvas of a share of the image.
   *
   * @param {number} share
   */
  #down(share) {
    return ((share - this.zoom.top) / this.zoom.share) * this.#height;
  }

  /**
   * The left, top, width and height of a node's bar.
   *
   * @param {number} node
   */
  #bar(node) {
    const { begins, ends, tops, shares } = this.layout;
    const left = this.#across(begins[node]);
    const top = this.#down(tops[node]);
    const height = this.#down(tops[node] + shares[node]) - top;
    const right = height < THINNEST ? this.#width : this.#across(ends[node]);
    return [left, top, right - left, height];
  }

  draw() {
    const style = getComputedStyle(document.documentElement);
    const brush = this.#brush;
    brush.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    brush.clearRect(0, 0, this.#width, this.#height);
    this.#drawBars();
    brush.globalAlpha = 1;
    brush.strokeStyle = brush.fillStyle = style.getPropertyValue("--ink");
    this.#frameBar(this.state.hovered, 1.5);
    this.#frameBar(this.state.selected, 2.5);
    const x = this.#across(positionOf(this.state.count, this.tree.most));
    brush.fillRect(x - 0.75, 0, 1.5, this.#height);
  }

  #drawBars() {
    const { m, selected, hovered, looks } = this.state;
    const { tree } = this;
    const brush = this.#brush;
    const regions = tree.regionsOf(m);
    const isSelected = tree.inside(selected);
    const above = new Set(selected >= 0 ? tree.path(selected) : []);
    const colors = this.palettes.css(looks.palette);
    const hidden = new Uint8Array(tree.parents.length); // 1: nothing below this node is drawn
    for (let node = tree.root; node >= 0; node--) {
      if (node !== tree.root && hidden[tree.parents[node]]) {
        hidden[node] = 1;
        continue;
      }
      const [x, y, width, height] = this.#bar(node);
      if (height < THINNEST) hidden[node] = 1;
      if (y > this.#height || y + height < 0) continue;
      let alpha = regions[node] === node ? 1 : 0.4;
      if (selected >= 0 && !isSelected[node]) alpha = above.has(node) ? 0.5 : 0.14;
      if (node === hovered || node === selected) alpha = 1;
      brush.globalAlpha = alpha;
      brush.fillStyle = colors[node];
      // A gap parts a bar from the next, if the bar is large enough to have one.
      const gap = height > 8 ? 1 : height > 3 ? 0.5 : 0;
      brush.fillRect(x, y, width > 3 ? width - 1 : width, height - gap);
    }
  }

  /**
   * Draw a frame around a bar.
   *
   * @param {number} node - -1 stands for none
   * @param {number} line - its width in pixels
   */
  #frameBar(node, line) {
    if (node < 0) return;
    const [x, y, width, height] = this.#bar(node);
    this.#brush.lineWidth = line;
    this.#brush.strokeRect(x + 1, y + 0.5, Math.max(2, width - 3), Math.max(2, height - 2));
  }

  /**
   * The node under the pointer.
   *
   * @param {MouseEvent} event
   */
  nodeAt(event) {
    const box = this.#canvas.getBoundingClientRect();
    const position = (event.clientX - box.left - THUMB) / (this.#width - 2 * THUMB - TAIL);
    const share = this.zoom.top + ((event.clientY - box.top) / box.height) * this.zoom.share;
    return this.layout.nodeAt(position, share);
  }
}

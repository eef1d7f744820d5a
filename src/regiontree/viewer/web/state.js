// What the page shows now, and who is told when that changes.

/**
 * @import { Tree } from "./tree.js"
 * @typedef {"hierarchy" | "distinct" | "means"} PaletteName
 * @typedef {"cut" | "selection" | "hover" | "looks" | "palette"} Change
 * @typedef {"up" | "down" | "left" | "right"} Direction
 * @typedef {object} Looks
 * @property {PaletteName} palette
 * @property {number} opacity - of the colours over the photograph, 0 to 1
 * @property {boolean} borders - whether borders are drawn
 * @property {boolean} photo - whether the photograph is shown
 */

export class State {
  /** @type {Map<Change, (() => void)[]>} */
  #listeners = new Map();

  /**
   * @param {Tree} tree
   * @param {number} m - the cut that is shown first
   * @param {boolean} photo - whether there is a photograph
   */
  constructor(tree, m, photo) {
    this.tree = tree;
    this.m = m;
    /** The selected node; -1 stands for none. */
    this.selected = -1;
    /** The node under the pointer; -1 stands for none. */
    this.hovered = -1;
    /** @type {Looks} */
    this.looks = { palette: "hierarchy", opacity: 0.55, borders: true, photo };
    /** For each node, the child that was selected last, or a node below it; -1 stands for none. */
    this.lastChild = new Int32Array(tree.parents.length).fill(-1);
  }

  /** How many regions the cut has. */
  get count() {
    return this.tree.counts[this.m];
  }

  /**
   * Call a function after every change of these kinds.
   *
   * @param {Change[]} changes
   * @param {() => void} listener
   */
  on(changes, listener) {
    for (const change of changes) {
      this.#listeners.set(change, [...(this.#listeners.get(change) ?? []), listener]);
    }
  }

  /** @param {Change} change */
  #tell(change) {
    for (const listener of this.#listeners.get(change) ?? []) listener();
  }

  /**
   * Show another cut.
   *
   * @param {number} m - how many divisions are made
   */
  setCut(m) {
    if (m === this.m) return;
    this.m = m;
    this.hover(-1);
    this.#tell("cut");
  }

  /**
   * Go to a finer cut, or to a coarser one if the number of steps is negative.
   *
   * @param {number} steps
   */
  step(steps) {
    const { tree } = this;
    const place = tree.stepOf(this.count) + steps;
    this.setCut(tree.steps[Math.max(0, Math.min(tree.steps.length - 1, place))]);
  }

  /** @param {number} node - -1 stands for none */
  select(node) {
    if (node === this.selected) return;
    const below = node < 0 ? [] : this.tree.path(node).slice(1);
    for (const child of below) this.lastChild[this.tree.parents[child]] = child;
    this.selected = node;
    this.hover(-1);
    this.#tell("selection");
  }

  /** @param {number} node - -1 stands for none */
  hover(node) {
    if (node === this.hovered) return;
    this.hovered = node;
    this.#tell("hover");
  }

  /**
   * Select a neighbour of the selected node: its parent, the child that was selected last, else the
   * largest child, or a sibling. If no node is selected, select the largest region of the cut.
   *
   * @param {Direction} direction
   */
  walk(direction) {
    const { tree, selected } = this;
    if (selected < 0) {
      this.select(this.#largestRegion());
      return;
    }
    const parent = selected === tree.root ? selected : tree.parents[selected];
    const siblings = selected === tree.root ? [selected] : tree.children[parent];
    const place = siblings.indexOf(selected);
    const last = this.lastChild[selected];
    const neighbours = {
      up: parent,
      down: last >= 0 ? last : tree.children[selected][0],
      left: siblings[place - 1],
      right: siblings[place + 1],
    };
    this.select(neighbours[direction] ?? selected);
  }

  #largestRegion() {
    const { area } = this.tree;
    const regions = [...new Set(this.tree.regionsOf(this.m))].filter((node) => node >= 0);
    return regions.reduce((a, b) => (area[b] > area[a] ? b : a));
  }

  /** @param {Looks} looks */
  setLooks(looks) {
    const repainted = looks.palette !== this.looks.palette;
    this.looks = looks;
    this.#tell("looks");
    if (repainted) this.#tell("palette");
  }
}

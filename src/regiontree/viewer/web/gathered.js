// What the page of a collection knows and shows: categories, their regions, their names.

import { Cut, heirs } from "./cutting.js";
import { distinctColors } from "./palettes.js";
import { Tree } from "./tree.js";

/**
 * @import { Naming } from "./naming.js"
 *
 * The data of the page. The function `page_data` of categoriespage.py writes it and explains every
 * field.
 *
 * @typedef {object} Payload
 * @property {string} title
 * @property {number} photographs
 * @property {string} key
 * @property {number[]} parents
 * @property {number[]} area
 * @property {number[]} divisions
 * @property {number} categories
 * @property {number} regions
 * @property {number} most
 * @property {boolean} saves
 *
 * What the server tells about the regions of all categories.
 *
 * @typedef {object} Lists
 * @property {number[]} count - regions of each category
 * @property {number[]} share - of all pixels
 * @property {number[][]} typical - photograph and node of some regions of each, in turn
 *
 * @typedef {"categories" | "regions" | "lists" | "names"} Change
 */

export class Gathered {
  /** @type {((change: Change) => void)[]} */
  #listeners = [];

  /**
   * @param {Payload} data
   * @param {Naming} naming
   */
  constructor(data, naming) {
    this.data = data;
    this.naming = naming;
    this.tree = new Tree(data);
    this.cut = new Cut(this.tree, data.categories);
    this.heirs = heirs(this.tree);
    this.colors = distinctColors(this.tree);
    this.photographs = data.photographs;
    /** Into how many regions each photograph is cut, at most. */
    this.regions = data.regions;
    /** @type {Lists | null} */
    this.lists = null;
    /** @type {"size" | "kind"} */
    this.order = "size";
    naming.on(() => this.#tell("names"));
  }

  /** @param {(change: Change) => void} listener - called after every change */
  on(listener) {
    this.#listeners.push(listener);
  }

  /** @param {Change} change */
  #tell(change) {
    for (const listener of this.#listeners) listener(change);
  }

  /** @param {number} count */
  setCategories(count) {
    this.cut.setCount(count);
    this.#tell("categories");
  }

  /** @param {number} steps */
  stepCategories(steps) {
    this.cut.step(steps);
    this.#tell("categories");
  }

  /** @param {number} category */
  open(category) {
    this.cut.open(category);
    this.#tell("categories");
  }

  /** @param {number} category */
  close(category) {
    this.cut.close(category);
    this.#tell("categories");
  }

  /** @param {number} count */
  setRegions(count) {
    const wanted = Math.max(1, Math.min(this.data.most, count));
    if (wanted === this.regions) return;
    this.regions = wanted;
    this.#tell("regions");
  }

  /** @param {Lists} lists */
  setLists(lists) {
    this.lists = lists;
    this.#tell("lists");
  }

  /**
   * The colour of a category, for CSS.
   *
   * @param {number} category
   */
  css(category) {
    return `rgb(${this.colors.subarray(3 * category, 3 * category + 3).join(" ")})`;
  }

  /**
   * A category in words: its name, else its number.
   *
   * @param {number} category
   */
  label(category) {
    return this.naming.nameOf(category)?.name ?? `category ${category}`;
  }

  /**
   * The category that a text means: a name, or a number. Null if there is none.
   *
   * @param {string} text
   */
  categoryOf(text) {
    const wanted = text.trim();
    const number = /^(?:category )?(\d+)$/.exec(wanted);
    if (number && Number(number[1]) <= this.tree.root) return Number(number[1]);
    const named = [...this.naming.own].filter(([, name]) => name === wanted);
    return named.length ? Math.max(...named.map(([category]) => category)) : null;
  }
}

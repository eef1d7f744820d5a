// Names of categories, and regions that people moved: every change is shown at once, sent to the
// server, and can be taken back.

import { Refused } from "./requests.js";

/**
 * The names as the server tells them: see changes.py.
 *
 * @typedef {object} Names
 * @property {[number, string][]} own
 * @property {number[]} parents
 * @property {[number, number, number][]} moved
 * @property {[number, string, number][]} suggested
 * @property {string[]} told
 *
 * A change of a name, or of the category of a region.
 *
 * @typedef {{ category: number, name: string, was: string }} NameEdit
 * @typedef {{ photo: number, node: number, category: number | null, was: number | null }} MoveEdit
 * @typedef {NameEdit | MoveEdit} Edit
 *
 * @typedef {"saved" | "saving" | "waiting"} Status
 */

const FIRST_WAIT = 1000; // milliseconds until a change is sent again
const LONGEST_WAIT = 10_000;

/** @param {number} status - of HTTP: the server will never take this change */
function isHopeless(status) {
  return status >= 400 && status < 500 && status !== 403;
}

export class Naming {
  /** @type {Edit[]} changes that can be taken back, the last one last */
  #done = [];
  /** @type {Edit[]} changes that were taken back */
  #undone = [];
  /** @type {Edit[]} changes that the server does not have yet */
  #queue = [];
  #sending = false;
  /** @type {(() => void)[]} */
  #listeners = [];

  /**
   * @param {object} means
   * @param {(edits: Edit[]) => Promise<Names>} means.send
   * @param {() => Promise<Names>} means.load
   * @param {(sentence: string) => void} means.tell - tells the user
   * @param {Pick<Storage, "getItem" | "setItem">} means.store - keeps what is not sent yet
   * @param {string} means.key - of that
   * @param {(milliseconds: number) => Promise<void>} means.wait
   */
  constructor({ send, load, tell, store, key, wait }) {
    this.send = send;
    this.load = load;
    this.tell = tell;
    this.store = store;
    this.key = key;
    this.wait = wait;
    /** @type {Map<number, string>} names that people gave */
    this.own = new Map();
    /** @type {number[]} the category above each */
    this.parents = [];
    /** @type {Map<string, number>} the category of each region that was moved */
    this.moved = new Map();
    /** @type {Map<number, { name: string, confidence: number }>} */
    this.suggested = new Map();
    /** @type {Status} */
    this.status = "saved";
    /** Why the last change is not saved yet. */
    this.reason = "";
    /** How often a region was moved: lists of regions change with it. */
    this.moves = 0;
  }

  /** @param {() => void} listener - called after every change */
  on(listener) {
    this.#listeners.push(listener);
  }

  #changed() {
    for (const listener of this.#listeners) listener();
  }

  /**
   * Begin with what the server knows. Changes that were not sent before are sent now.
   *
   * @param {Names} names
   */
  begin(names) {
    try {
      const kept = JSON.parse(this.store.getItem(this.key) ?? "[]");
      if (Array.isArray(kept)) this.#queue = kept;
    } catch {
      this.#queue = [];
    }
    this.take(names);
    this.#flush();
  }

  /**
   * Take over what the server knows, under the changes that it does not have yet.
   *
   * @param {Names} names
   */
  take(names) {
    const moved = new Map(names.moved.map(([photo, node, to]) => [`${photo} ${node}`, to]));
    const before = JSON.stringify([...this.moved].sort());
    this.own = new Map(names.own);
    this.parents = names.parents;
    this.moved = moved;
    this.suggested = new Map(
      names.suggested.map(([category, name, confidence]) => [category, { name, confidence }]),
    );
    for (const edit of this.#queue) this.#apply(edit);
    if (JSON.stringify([...this.moved].sort()) !== before) this.moves++;
    for (const sentence of names.told) this.tell(sentence);
    this.#changed();
  }

  /** Ask the server what the names are: other people may have changed them. */
  async refresh() {
    try {
      this.take(await this.load());
    } catch {
      this.#changed(); // the next change will say what is wrong
    }
  }

  /**
   * The name of a category, and the category that it comes from: itself, or the nearest above with
   * a name. Null if there is none.
   *
   * @param {number} category
   */
  nameOf(category) {
    for (let one = category; ; one = this.parents[one]) {
      const name = this.own.get(one);
      if (name) return { name, from: one };
      if (this.parents[one] === one) return null;
    }
  }

  /**
   * The category of a region that was moved, else undefined.
   *
   * @param {number} photo
   * @param {number} node
   */
  movedTo(photo, node) {
    return this.moved.get(`${photo} ${node}`);
  }

  /** All names that people gave, sorted. */
  all() {
    return [...new Set(this.own.values())].sort((a, b) => a.localeCompare(b));
  }

  /**
   * Give a category a name; an empty one takes its name away.
   *
   * @param {number} category
   * @param {string} name
   */
  give(category, name) {
    const was = this.own.get(category) ?? "";
    this.#make({ category, name: name.trim(), was });
  }

  /**
   * Move a region to a category; null moves it back.
   *
   * @param {number} photo
   * @param {number} node
   * @param {number | null} category
   */
  move(photo, node, category) {
    this.#make({ photo, node, category, was: this.movedTo(photo, node) ?? null });
  }

  /** @param {Edit} edit */
  #make(edit) {
    if (Naming.after(edit) === edit.was) return;
    this.#done.push(edit);
    this.#undone = [];
    this.#enter(edit);
  }

  /**
   * What an edit sets.
   *
   * @param {Edit} edit
   */
  static after(edit) {
    return "photo" in edit ? edit.category : edit.name;
  }

  /**
   * The edit that takes another one back.
   *
   * @param {Edit} edit
   * @returns {Edit}
   */
  static inverse(edit) {
    if ("photo" in edit) return { ...edit, category: edit.was, was: edit.category };
    return { ...edit, name: edit.was, was: edit.name };
  }

  get canUndo() {
    return this.#done.length > 0;
  }

  get canRedo() {
    return this.#undone.length > 0;
  }

  /** How many changes the server does not have yet. */
  get waiting() {
    return this.#queue.length;
  }

  /** Take the last change back. Returns the edit that does so. */
  undo() {
    const edit = this.#done.pop();
    if (!edit) return null;
    this.#undone.push(edit);
    const back = Naming.inverse(edit);
    this.#enter(back);
    return back;
  }

  /** Make the change again that was taken back last. Returns it. */
  redo() {
    const edit = this.#undone.pop();
    if (!edit) return null;
    this.#done.push(edit);
    this.#enter(edit);
    return edit;
  }

  /** @param {Edit} edit */
  #apply(edit) {
    if ("photo" in edit) {
      const key = `${edit.photo} ${edit.node}`;
      if (edit.category === null) this.moved.delete(key);
      else this.moved.set(key, edit.category);
    } else if (edit.name) this.own.set(edit.category, edit.name);
    else this.own.delete(edit.category);
  }

  /** @param {Edit} edit */
  #enter(edit) {
    this.#apply(edit);
    if ("photo" in edit) this.moves++;
    this.#queue.push(edit);
    this.#keep();
    this.#changed();
    this.#flush();
  }

  #keep() {
    try {
      this.store.setItem(this.key, JSON.stringify(this.#queue));
    } catch {
      // A browser without storage: what is not sent is lost if the page is closed.
    }
  }

  async #flush() {
    if (this.#sending) return;
    this.#sending = true;
    for (let wait = FIRST_WAIT; this.#queue.length; ) {
      const edits = [...this.#queue];
      if (this.status === "saved") this.status = "saving";
      this.#changed();
      try {
        const names = await this.send(edits);
        this.#queue.splice(0, edits.length);
        this.#keep();
        this.status = this.#queue.length ? "saving" : "saved";
        this.reason = "";
        wait = FIRST_WAIT;
        this.take(names);
      } catch (error) {
        if (error instanceof Refused && isHopeless(error.status)) {
          this.#queue.splice(0, edits.length);
          this.#keep();
          this.status = "saved";
          this.tell(`A change was not saved. ${error.message}`);
          await this.refresh();
          continue;
        }
        this.status = "waiting";
        this.reason = error instanceof Refused ? error.message : "The server does not answer.";
        this.#changed();
        await this.wait(wait);
        wait = Math.min(2 * wait, LONGEST_WAIT);
      }
    }
    this.#sending = false;
  }
}

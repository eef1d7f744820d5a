// The tree for a screen reader: an item for each node that one key can reach from the selection.

import { byId, make } from "./elements.js";

/**
 * @import { State } from "./state.js"
 * @import { Tree } from "./tree.js"
 * @import { Words } from "./words.js"
 */

const NEARBY = 20; // siblings on each side: a node may have thousands

/**
 * Keep the items up to date: the path to the selection, the siblings on the path, and the children.
 *
 * @param {Tree} tree
 * @param {State} state
 * @param {Words} words
 */
export function keepTreeItems(tree, state, words) {
  const focus = byId("tree", HTMLElement);
  const items = byId("items", HTMLElement);

  const update = () => {
    const path = tree.path(state.selected < 0 ? tree.root : state.selected);

    /**
     * @param {number} node
     * @param {number} place - among its siblings, from 0
     * @param {number[]} siblings
     */
    const item = (node, place, siblings) => {
      const text = `${words.title(node)}, ${words.share(node)}`;
      const made = make("div", { id: `node-${node}`, role: "treeitem", textContent: text });
      made.ariaLevel = String(tree.level[node] + 1);
      made.ariaSetSize = String(siblings.length);
      made.ariaPosInSet = String(place + 1);
      made.ariaSelected = String(node === state.selected);
      if (tree.children[node].length) made.ariaExpanded = String(path.includes(node));
      return made;
    };

    const rows = path.flatMap((node, depth) => {
      const siblings = tree.children[node];
      const next = path[depth + 1] ?? state.lastChild[node];
      const place = Math.max(0, siblings.indexOf(next));
      const first = Math.max(0, place - NEARBY);
      const nearby = siblings.slice(first, place + NEARBY + 1);
      return nearby.map((child, i) => item(child, first + i, siblings));
    });
    items.replaceChildren(item(tree.root, 0, [tree.root]), ...rows);
    if (state.selected < 0) focus.removeAttribute("aria-activedescendant");
    else focus.setAttribute("aria-activedescendant", `node-${state.selected}`);
  };

  state.on(["selection"], update);
  update();
}

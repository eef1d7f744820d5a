// The panel of one region: the path from the whole image, its name, and what is known about it.

import { announce, byId, make } from "./elements.js";
import { silhouette } from "./silhouette.js";

/**
 * @import { Palettes } from "./palettes.js"
 * @import { State } from "./state.js"
 * @import { View } from "./view.js"
 * @import { Words } from "./words.js"
 */

/**
 * Show the panel, and show it again after every change.
 *
 * @param {View} view
 * @param {State} state
 * @param {Palettes} palettes
 * @param {Words} words
 */
export function showDetails(view, state, palettes, words) {
  const path = byId("path", HTMLElement);
  const name = byId("region", HTMLElement);
  const hint = byId("reading", HTMLElement);
  const values = byId("values", HTMLElement);
  const clear = byId("clear", HTMLButtonElement);

  /** @param {number} node */
  const crumb = (node) => {
    const color = palettes.colors[state.looks.palette].subarray(3 * node, 3 * node + 3);
    const picture = silhouette(view, node, color);
    const button = make("button", { type: "button" }, picture, words.share(node));
    button.ariaLabel = `${words.title(node)}, ${words.share(node)}`;
    if (node === state.selected) button.ariaCurrent = "true";
    button.addEventListener("click", () => state.select(node));
    return make("li", {}, button);
  };

  const showPath = () => {
    const { tree } = view;
    const nodes = tree.path(state.selected < 0 ? tree.root : state.selected);
    path.replaceChildren(...nodes.map(crumb));
    path.scrollLeft = path.scrollWidth;
  };

  const showRegion = () => {
    const node = state.selected >= 0 ? state.selected : state.hovered;
    const facts = node < 0 ? [] : words.facts(node);
    name.textContent = node < 0 ? "Nothing selected" : words.title(node);
    hint.hidden = node >= 0;
    values.replaceChildren(
      ...facts.map(([term, value]) =>
        make("div", {}, make("dt", {}, term), make("dd", {}, value)),
      ),
    );
    clear.hidden = state.selected < 0;
  };

  clear.addEventListener("click", () => {
    state.select(-1);
    byId("tree", HTMLElement).focus();
  });
  state.on(["selection"], () => {
    announce(state.selected < 0 ? "Nothing selected." : words.sentence(state.selected));
  });
  state.on(["selection", "palette"], showPath);
  state.on(["selection", "hover"], showRegion);
  showPath();
  showRegion();
}

// The three downloads: the mask of the selected region, the cut, and the tree.

import { decodeBase64 } from "./bytes.js";
import { byId, make } from "./elements.js";
import { greyPng } from "./png.js";

/**
 * @import { Payload } from "./payload.js"
 * @import { State } from "./state.js"
 * @import { View } from "./view.js"
 */

const MOST_REGIONS = 65_535; // that 16 bits can number
const KEPT = 60_000; // milliseconds that a browser has to save a file

/**
 * @param {string} name - of the file
 * @param {string} url
 */
function save(name, url) {
  make("a", { href: url, download: name }).click();
}

/**
 * @param {string} name - of the file
 * @param {Blob} blob
 */
function saveBlob(name, blob) {
  const url = URL.createObjectURL(blob);
  save(name, url);
  setTimeout(() => URL.revokeObjectURL(url), KEPT);
}

/**
 * Make the buttons work. A file comes from its link if there is one; else the page makes it.
 *
 * @param {View} view
 * @param {State} state
 * @param {Payload} data
 * @param {string} note - how the downloads differ from the original
 */
export function addDownloads(view, state, data, note) {
  const { tree, labels, width, height } = view;
  const { links } = data;
  const stem = data.name.replace(/\.[^.]+$/, "");
  const maskButton = byId("save-mask", HTMLButtonElement);
  const cutButton = byId("save-cut", HTMLButtonElement);
  const treeButton = byId("save-tree", HTMLButtonElement);

  maskButton.addEventListener("click", async () => {
    const node = state.selected;
    const name = `${stem}.mask-${node}.png`;
    if (links.mask) return save(name, links.mask.replace("{node}", String(node)));
    const inside = tree.inside(node);
    return saveBlob(name, await greyPng(width, height, 8, (i) => 255 * inside[labels[i]]));
  });

  cutButton.addEventListener("click", async () => {
    const { count } = state;
    const name = `${stem}.cut-${String(count).padStart(3, "0")}.png`;
    if (links.cut) return save(name, links.cut.replace("{regions}", String(count)));
    const numbers = tree.regionNumbers(state.m);
    return saveBlob(name, await greyPng(width, height, 16, (i) => numbers[labels[i]] + 1));
  });

  treeButton.addEventListener("click", () => {
    const name = `${data.name}.npz`;
    if (links.tree) return save(name, links.tree);
    return saveBlob(name, new Blob([decodeBase64(data.tree ?? "")], { type: "application/zip" }));
  });

  const allow = () => {
    maskButton.disabled = state.selected < 0;
    cutButton.disabled = state.count > MOST_REGIONS;
  };
  state.on(["selection", "cut"], allow);
  allow();
  byId("scale", HTMLElement).textContent = note;
}

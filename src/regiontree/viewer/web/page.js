// The page of one tree. This module reads the data, connects the parts, and draws each frame.

import { showDetails } from "./details.js";
import { addDownloads } from "./downloads.js";
import { byId } from "./elements.js";
import { Granularity } from "./granularity.js";
import { showHeader } from "./header.js";
import { Icicle } from "./icicle.js";
import { answerKeys } from "./keyboard.js";
import { addLooks } from "./looks.js";
import { Palettes } from "./palettes.js";
import { readLabels } from "./payload.js";
import { Photograph } from "./photograph.js";
import { answerPointer } from "./pointing.js";
import { State } from "./state.js";
import { Tree } from "./tree.js";
import { keepTreeItems } from "./treeitems.js";
import { View } from "./view.js";
import { Words } from "./words.js";

/** @import { Payload } from "./payload.js" */

/** @type {Payload} */
const data = JSON.parse(byId("data", HTMLScriptElement).text);

// The labels and the photograph are decoded while the rest of the page gets ready.
const labels = readLabels(data);
const photo = byId("photo", HTMLImageElement);
if (data.photo) photo.src = data.photo;
const decoded = data.photo ? photo.decode().catch(() => {}) : null; // regions can do without it

const tree = new Tree(data);
const state = new State(tree, data.natural, Boolean(data.photo));
const words = new Words(tree, data);
const palettes = new Palettes(tree, data);
showHeader(data, words.summary());
const granularity = new Granularity(state, data.natural);
addLooks(state, data);
const view = new View(tree, await labels, data.view);
const photograph = new Photograph(view, state, palettes, data.name);
const icicle = new Icicle(tree, state, palettes);
showDetails(view, state, palettes, words);
keepTreeItems(tree, state, words);
addDownloads(view, state, data, words.downloadNote());
answerPointer(photograph, state);
answerPointer(icicle, state);
answerKeys(state, granularity, data.links);

let requested = false;

function requestFrame() {
  if (!requested) requestAnimationFrame(drawFrame);
  requested = true;
}

/** @param {number} now - milliseconds */
function drawFrame(now) {
  requested = false;
  if (icicle.zoom.move(now)) requestFrame();
  photograph.draw();
  icicle.draw();
}

state.on(["cut", "selection", "hover", "looks"], requestFrame);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", requestFrame);
drawFrame(performance.now());
await decoded;
performance.mark("drawn");

// The tests and the console use this.
Object.assign(window, { viewer: { tree, view, data, state, drawFrame } });
document.documentElement.dataset.ready = "true";

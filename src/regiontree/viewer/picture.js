// What the page is told and what it shows now, and the photograph under the colours of a cut.
//
// A frame is one pass over the pixels and three small tables by leaf and division.

const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const labels = readLabels(data); // while the rest gets ready: the photograph is decoded, too
if (data.photo) $("photo").src = data.photo;
const decoded = data.photo && $("photo").decode().catch(() => {}); // if not, regions are enough

const { links } = data;
const tree = new Tree(data);
const most = tree.counts.at(-1);
const [height, width] = data.view;
const stem = data.name.replace(/\.[^.]+$/, "");
const still = matchMedia("(prefers-reduced-motion: reduce)");
// Intl would do it, and takes 30 ms to load.
const grouped = (count) => String(count).replace(/\B(?=(\d{3})+$)/g, ",");
const THUMB = 11; // half the slider's thumb, which never leaves its track
const TAIL = 36; // the slider ends before the tree does, so that the last leaves can be seen

const state = {
  m: data.natural,
  selected: -1, // nodes; -1: none
  hovered: -1,
  colors: "hierarchy",
  opacity: 0.55,
  borders: true,
  photo: Boolean(data.photo),
};
const way = new Int32Array(tree.parents.length).fill(-1); // the child one came up from

// -- colours --------------------------------------------------------------------------------------

function hexColors(hex) {
  return Uint8Array.from(hex.match(/../g), (digits) => parseInt(digits, 16));
}

/** Colours far apart for tree neighbours: steps of the golden ratio around OKLCH's circle. */
function distinctColors() {
  const canvas = new OffscreenCanvas(256, Math.ceil(tree.parents.length / 256)); // a pixel a node
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const stack = [tree.root];
  for (let rank = 0; stack.length; rank++) {
    const node = stack.pop();
    for (const child of tree.children[node].toReversed()) stack.push(child);
    context.fillStyle = `oklch(${0.6 + 0.1 * (rank % 4)} 0.14 ${(rank * 222.492) % 360})`;
    context.fillRect(node & 255, node >> 8, 1, 1);
  }
  const colors = context.getImageData(0, 0, canvas.width, canvas.height).data;
  return colors.filter((_, i) => i % 4 < 3);
}

const palettes = {
  hierarchy: hexColors(data.colors),
  distinct: distinctColors(),
  means: data.means && hexColors(data.means),
};

function rgba(red, green, blue, alpha) {
  return ((Math.round(255 * alpha) << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

const css = {}; // by palette, when it is first needed: its colours as CSS has them

function cssColors() {
  const palette = palettes[state.colors];
  css[state.colors] ??= data.parents.map((_, node) => {
    return `rgb(${palette.subarray(3 * node, 3 * node + 3).join(" ")})`;
  });
  return css[state.colors];
}

// -- the photograph -------------------------------------------------------------------------------

const view = new View(tree, await labels, data.view);
const regions = $("regions");
regions.width = width;
regions.height = height;
const surface = regions.getContext("2d");
const frame = surface.createImageData(width, height);
const pixels = new Uint32Array(frame.data.buffer);
const fill = new Uint32Array(tree.leaves); // by leaf: its colour
const limit = new Uint32Array(tree.leaves); // by leaf: borders of divisions before it are drawn
const strength = new Uint8Array(tree.divisions.length); // by division: how clear its borders are
const TONES = 8; // strengths of a border
const lines = new Uint32Array(TONES * tree.leaves); // by leaf and strength: a border's colour
const outlines = new Map(); // of the nodes last drawn

function drawPicture() {
  const { m, selected, hovered, opacity } = state;
  const owner = tree.owners(m);
  const chosen = tree.inside(selected), lit = tree.inside(hovered);
  const palette = palettes[state.colors];
  for (let leaf = 0; leaf < tree.leaves; leaf++) {
    const region = owner[leaf], dimmed = selected >= 0 && !chosen[leaf];
    let red = palette[3 * region], green = palette[3 * region + 1], blue = palette[3 * region + 2];
    // The whole image is no region among others: undivided, the photograph is left alone.
    let alpha = region === tree.root ? 0 : opacity;
    if (dimmed) {
      [red, green, blue, alpha] = [14, 15, 18, 0.66];
    } else if (selected >= 0 && state.photo) {
      alpha *= 0.35;
    }
    if (lit[leaf]) {
      [red, green, blue] = [red, green, blue].map((value) => value + 0.3 * (255 - value));
      alpha = dimmed ? 0.3 : Math.min(1, alpha + 0.12);
    }
    fill[leaf] = rgba(red, green, blue, alpha);
    limit[leaf] = state.borders && !dimmed ? m : 0;
    for (let tone = 0; limit[leaf] && tone < TONES; tone++) {
      const white = 0.25 + (0.7 * tone) / (TONES - 1), whole = white + alpha * (1 - white);
      const over = (value) => (255 * white + value * alpha * (1 - white)) / whole;
      lines[TONES * leaf + tone] = rgba(over(red), over(green), over(blue), whole);
    }
  }
  // The earlier a division, the clearer its border: large regions stay whole to the eye.
  for (let i = 0; i < m; i++) {
    strength[i] = (TONES - 1) * (1 - Math.log(i + 1) / Math.log(m + 1)) + 0.5;
  }
  const { labels, borders } = view;
  for (let i = 0; i < pixels.length; i++) {
    const leaf = labels[i], border = borders[i];
    pixels[i] = border < limit[leaf] ? lines[TONES * leaf + strength[border]] : fill[leaf];
  }
  for (const node of outlines.keys()) {
    if (node !== selected && node !== hovered) outlines.delete(node);
  }
  for (const [node, color] of [[hovered, 0xe6ffffff], [selected, 0xffffffff]]) {
    if (node < 0) continue;
    if (!outlines.has(node)) outlines.set(node, view.outline(node, view.thick + (view.thick > 1)));
    for (const i of outlines.get(node)) pixels[i] = color;
  }
  surface.putImageData(frame, 0, 0);
  // Under colours the photograph is greyed and softened: they look as they do in the icicle.
  const grey = selected < 0 && m > 0 ? Math.min(1, 1.2 * opacity) : 0;
  $("photo").style.filter = grey ? `saturate(${1 - grey}) contrast(${1 - 0.3 * grey})` : "";
}

/** The region that a click means: of the cut, or, within the selection, a level further in. */
function regionAt(event) {
  const box = regions.getBoundingClientRect();
  const x = Math.floor(((event.clientX - box.left) / box.width) * width);
  const y = Math.floor(((event.clientY - box.top) / box.height) * height);
  if (x < 0 || y < 0 || x >= width || y >= height) return -1;
  const path = tree.path(view.labels[y * width + x]);
  const depth = path.indexOf(state.selected);
  if (depth >= 0) return path[Math.min(depth + 1, path.length - 1)];
  return path.find((node) => tree.when[node] >= state.m);
}

// What can be done with the page: pointing, walking, sliding, playing, downloading.

let waiting = false;
let playing = null;

function redraw() {
  if (!waiting) requestAnimationFrame(drawFrame);
  waiting = true;
}

function drawFrame(now) {
  waiting = false;
  moveZoom(now);
  drawPicture();
  drawIcicle();
}

function setCut(m, { moveSlider = true } = {}) {
  if (moveSlider) $("slider").value = scale(tree.counts[m]);
  if (m === state.m) return;
  state.m = m;
  state.hovered = -1;
  tellCut();
  tellRegion();
  redraw();
}

/** The cut at a place of the slider, 0 to 1: the reverse of `scale`. */
function cutAt(position) {
  return tree.steps[tree.stepOf(Math.round(Math.exp(position * Math.log(most))))];
}

function step(by) {
  const now = tree.stepOf(tree.counts[state.m]);
  setCut(tree.steps[Math.max(0, Math.min(tree.steps.length - 1, now + by))]);
}

function select(node) {
  if (node === state.selected) return;
  if (node >= 0) for (const child of tree.path(node).slice(1)) way[tree.parents[child]] = child;
  state.selected = node;
  state.hovered = -1;
  $("live").textContent = node < 0 ? "Nothing selected." : inWords(node);
  tellPath();
  tellItems();
  tellRegion();
  aim();
  redraw();
}

function hover(node) {
  if (node === state.hovered) return;
  state.hovered = node;
  tellRegion();
  redraw();
}

function walk(key) {
  const { selected } = state;
  if (selected < 0) {
    const shown = [...new Set(tree.owners(state.m))].filter((node) => node >= 0);
    return select(shown.reduce((a, b) => (data.area[b] > data.area[a] ? b : a)));
  }
  const siblings = tree.children[tree.parents[selected]], at = siblings.indexOf(selected);
  const towards = {
    ArrowUp: tree.parents[selected],
    ArrowDown: way[selected] >= 0 ? way[selected] : tree.children[selected][0],
    ArrowLeft: selected === tree.root ? selected : siblings[at - 1],
    ArrowRight: selected === tree.root ? selected : siblings[at + 1],
  };
  return select(towards[key] ?? selected);
}

function play(on) {
  const count = tree.counts[state.m];
  playing = on ? { from: scale(count === most ? 1 : count), began: performance.now() } : null;
  $("play").textContent = on ? "Pause" : "Play";
  if (on) requestAnimationFrame(advance);
}

function advance(now) {
  if (!playing) return;
  const position = Math.min(1, playing.from + Math.max(0, now - playing.began) / 12000);
  setCut(cutAt(position), { moveSlider: false });
  $("slider").value = position;
  if (position < 1) requestAnimationFrame(advance);
  else play(false);
}

// -- downloads ------------------------------------------------------------------------------------

function save(name, url) {
  element("a", { href: url, download: name }).click();
}

function saveBlob(name, blob) {
  const url = URL.createObjectURL(blob);
  save(name, url);
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

async function saveMask() {
  const node = state.selected, name = `${stem}.mask-${node}.png`;
  if (links.mask) return save(name, links.mask.replace("{node}", node));
  const inside = tree.inside(node);
  saveBlob(name, await greyPng(width, height, 8, (i) => 255 * inside[view.labels[i]]));
}

async function saveCut() {
  const count = tree.counts[state.m];
  const name = `${stem}.cut-${String(count).padStart(3, "0")}.png`;
  if (links.cut) return save(name, links.cut.replace("{regions}", count));
  const region = tree.regions(state.m);
  saveBlob(name, await greyPng(width, height, 16, (i) => region[view.labels[i]] + 1));
}

function saveTree() {
  const name = `${data.name}.npz`;
  if (links.tree) save(name, links.tree);
  else saveBlob(name, new Blob([bytesOf(data.tree)], { type: "application/zip" }));
}

// -- events ---------------------------------------------------------------------------------------

let mouse = true; // a finger does not hover
addEventListener("pointerdown", (event) => (mouse = event.pointerType !== "touch"));
for (const [canvas, found] of [[regions, regionAt], [icicle, nodeAt]]) {
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "touch") hover(found(event));
  });
  canvas.addEventListener("pointerleave", () => hover(-1));
  canvas.addEventListener("click", (event) => {
    select(found(event));
    if (mouse) hover(found(event));
  });
}

$("slider").addEventListener("input", (event) => {
  play(false);
  setCut(cutAt(event.target.valueAsNumber), { moveSlider: false });
});
$("slider").addEventListener("change", () => setCut(state.m)); // the thumb to its exact place
$("play").addEventListener("click", () => play(!playing));
$("natural").addEventListener("click", () => (play(false), setCut(data.natural)));
$("clear").addEventListener("click", () => (select(-1), $("tree").focus()));
$("save-mask").addEventListener("click", saveMask);
$("save-cut").addEventListener("click", saveCut);
$("save-tree").addEventListener("click", saveTree);

$("looks").addEventListener("input", () => {
  const palette = document.querySelector("input[name=colors]:checked").value;
  const repaint = palette !== state.colors;
  state.colors = palette;
  state.opacity = $("opacity").valueAsNumber;
  state.borders = $("borders").checked;
  state.photo = $("shown").checked;
  $("photo").hidden = !state.photo;
  if (repaint) tellPath();
  redraw();
});

const KEYS = {
  "+": () => step(1),
  "=": () => step(1), // the key of + without Shift
  "-": () => step(-1),
  n: () => setCut(data.natural),
  "[": () => links.previous && location.assign(links.previous),
  "]": () => links.next && location.assign(links.next),
  Escape: () => select(-1),
};
for (const key of ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"]) KEYS[key] = () => walk(key);
const SLIDER_KEYS = {
  ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10,
  Home: -Infinity, End: Infinity,
};

addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  let act = KEYS[key];
  if (target === $("slider") && key in SLIDER_KEYS) act = () => step(SLIDER_KEYS[key]);
  else if (key.startsWith("Arrow")) {
    // Other inputs have arrows of their own; with nothing selected they scroll the page.
    if (target.matches("input") || (state.selected < 0 && target !== $("tree"))) return;
  }
  if (!act) return;
  event.preventDefault();
  play(false);
  act();
});

// -- the page as it opens -------------------------------------------------------------------------

$("name").textContent = data.name;
const [imageHeight, imageWidth] = data.shape;
$("facts").textContent = [
  `${grouped(imageWidth)} × ${grouped(imageHeight)} pixels`,
  plural(tree.parents.length, "node"),
  `depth ${tree.depth}`,
].join(", ");
for (const name of ["previous", "index", "next"]) {
  if (links[name]) $(name).href = links[name];
  else $(name).hidden = true;
}
$("links").hidden = !(links.previous || links.index || links.next);
$("turning").hidden = !(links.previous || links.next);
$("notices").replaceChildren(...data.notices.map((notice) => element("p", {}, notice)));
$("notices").hidden = !data.notices.length;
const scaled = width !== imageWidth || height !== imageHeight;
$("scale").textContent = [
  scaled && !(links.mask && links.cut) ? `Images as shown here, ${width} × ${height} pixels.` : "",
  data.whole ? "" : "The tree without its embedding.",
].join(" ").trim();
$("natural").textContent = `Natural: ${grouped(tree.counts[data.natural])}`;
for (const id of ["slider", "play", "natural"]) $(id).disabled = most === 1;
document.querySelector("input[value=means]").disabled = !data.means;
$("shown").disabled = !data.photo;
$("shown").checked = state.photo;
$("photo").hidden = !state.photo;
$("frame").classList.toggle("coarse", Math.max(width, height) < 200);
document.documentElement.style.setProperty("--ratio", width / height);

new ResizeObserver(() => {
  Object.assign(size, { width: $("tree").clientWidth, height: $("tree").clientHeight });
  icicle.width = Math.round(size.width * devicePixelRatio);
  icicle.height = Math.round(size.height * devicePixelRatio);
  drawIcicle();
}).observe($("tree"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

setCut(state.m);
tellCut();
tellPath();
tellItems();
tellRegion();
drawFrame(performance.now());
await decoded;
performance.mark("drawn");

// For whoever opens the console, and for the tests.
const cut = () => tree.regions(state.m);
window.viewer = { tree, view, data, state, select, setCut, drawFrame, cut };
document.documentElement.dataset.ready = "true";

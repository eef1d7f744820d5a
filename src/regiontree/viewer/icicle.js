// The tree as an icicle beside the photograph.
//
// x is granularity, on the slider's own scale, and y is area: a node's bar reaches from the cut in
// which it appears to the cut that divides it, so the column under the slider's thumb is the cut
// that the photograph shows, its regions as tall as they are large. A small selection is zoomed to;
// bars thinner than a line are left out, and their parent stands for them.

const icicle = $("icicle");
const brush = icicle.getContext("2d");
const scale = (k) => (most > 1 ? Math.log(k) / Math.log(most) : 0); // 1 to most regions: 0 to 1
// Where a node's bar begins, between the cut before its parent's division and the cut after.
const begins = Float64Array.from(tree.parents, (parent, node) => {
  const m = tree.when[parent];
  return node === tree.root ? -1 : scale(Math.sqrt(tree.counts[m] * tree.counts[m + 1]));
});
const ends = tree.children.map((children) => (children.length ? begins[children[0]] : 2));
const tops = new Float64Array(tree.parents.length);
const shares = data.area.map((area) => area / data.area[tree.root]);
for (let node = tree.root; node >= 0; node--) {
  let at = tops[node];
  for (const child of tree.children[node]) {
    tops[child] = at;
    at += shares[child];
  }
}
const size = { width: 0, height: 0 };
const zoom = { top: 0, share: 1, from: null, target: null, began: 0 }; // the share in sight

/** Where on the canvas a place on the slider's scale lies. */
function across(at) {
  return Math.min(size.width, Math.max(0, THUMB + at * (size.width - 2 * THUMB - TAIL)));
}

/** Where on the canvas a share of the area, counted from above, lies. */
function down(at) {
  return ((at - zoom.top) / zoom.share) * size.height;
}

/** Left, top, width and height of a node's bar. */
function bar(node) {
  const left = across(begins[node]), top = down(tops[node]);
  const tall = down(tops[node] + shares[node]) - top;
  // Bars a line thin are no bars: the node stands for all below it.
  const right = tall < 1.5 ? size.width : across(ends[node]);
  return [left, top, right - left, tall];
}

function drawIcicle() {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--ink"), { m, selected, hovered } = state;
  const ratio = devicePixelRatio;
  const owner = tree.owners(m), chosen = tree.inside(selected), colors = cssColors();
  const above = new Set(selected >= 0 ? tree.path(selected) : []);
  const hidden = new Uint8Array(tree.parents.length);
  brush.setTransform(ratio, 0, 0, ratio, 0, 0);
  brush.clearRect(0, 0, size.width, size.height);
  for (let node = tree.root; node >= 0; node--) {
    if (node !== tree.root && hidden[tree.parents[node]]) {
      hidden[node] = 1;
      continue;
    }
    let [x, y, wide, tall] = bar(node);
    if (tall < 1.5) hidden[node] = 1;
    if (y > size.height || y + tall < 0) continue;
    const shown = owner[node] === node;
    let alpha = shown ? 1 : 0.4;
    if (selected >= 0 && !chosen[node]) alpha = above.has(node) ? 0.5 : 0.14;
    if (node === hovered || node === selected) alpha = 1;
    brush.globalAlpha = alpha;
    brush.fillStyle = colors[node];
    if (tall > 3) tall -= tall > 8 ? 1 : 0.5;
    if (wide > 3) wide -= 1;
    brush.fillRect(x, y, wide, tall);
  }
  brush.globalAlpha = 1;
  brush.strokeStyle = brush.fillStyle = ink;
  for (const [node, line] of [[hovered, 1.5], [selected, 2.5]]) {
    if (node < 0) continue;
    const [x, y, wide, tall] = bar(node);
    brush.lineWidth = line;
    brush.strokeRect(x + 1, y + 0.5, Math.max(2, wide - 3), Math.max(2, tall - 2));
  }
  const x = across(scale(tree.counts[m]));
  brush.fillRect(x - 0.75, 0, 1.5, size.height);
}

function nodeAt(event) {
  const box = icicle.getBoundingClientRect();
  const x = (event.clientX - box.left - THUMB) / (size.width - 2 * THUMB - TAIL);
  const y = zoom.top + ((event.clientY - box.top) / box.height) * zoom.share;
  let node = tree.root;
  for (;;) {
    const holds = (c) => begins[c] <= x && tops[c] <= y && y < tops[c] + shares[c];
    const child = tree.children[node].find(holds);
    if (child === undefined) return node;
    node = child;
  }
}

/** Brings a small selection to a third of the icicle's height, its surroundings with it. */
function aim() {
  const { selected } = state;
  const share = selected < 0 ? 1 : Math.min(1, 3 * shares[selected]);
  const middle = selected < 0 ? 0.5 : tops[selected] + shares[selected] / 2;
  const target = { share, top: Math.max(0, Math.min(1 - share, middle - share / 2)) };
  const from = { top: zoom.top, share: zoom.share };
  if (still.matches) Object.assign(zoom, target, { from: null });
  else Object.assign(zoom, { from, target, began: performance.now() });
}

function moveZoom(now) {
  if (!zoom.from) return;
  const part = Math.min(1, Math.max(0, (now - zoom.began) / 260));
  const eased = 1 - (1 - part) ** 3;
  // Shares shrink by factors: equal factors in equal times look even.
  const { from, target } = zoom;
  zoom.share = from.share * (target.share / from.share) ** eased;
  const change = from.share - target.share;
  const moved = change === 0 ? eased : (from.share - zoom.share) / change;
  zoom.top = from.top + (target.top - from.top) * moved;
  if (part === 1) zoom.from = null;
  else redraw();
}

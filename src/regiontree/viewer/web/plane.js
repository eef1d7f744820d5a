// The map of the collection: prototypes as discs, those that are alike near each other.

import { brushOf, make } from "./elements.js";
import { regionTile, regionsOf } from "./tiles.js";
import { percent, plural } from "./words.js";

/**
 * @import { Gathered } from "./gathered.js"
 * @typedef {{ x: number[], y: number[] }} Places - of the finest categories, 0 to 1
 */

const EDGE = 36; // pixels around the map
const LARGEST = 104; // pixels: the radius of a disc that had all pixels of the collection
const WIDEST = 1.7; // the map may be so much wider than it is high
const CLOSEST = 24; // how often the map can be enlarged
const TIP = 4; // regions beside a disc
const NEAR = 8; // pixels around a disc that belong to it

/**
 * Show the map. Returns a function that shows a change.
 *
 * @param {HTMLElement} main
 * @param {Gathered} gathered
 * @param {Places} places
 */
export function showPlane(main, gathered, places) {
  const { tree, cut } = gathered;
  const canvas = make("canvas", { className: "plane", tabIndex: 0 });
  canvas.role = "img";
  const tip = make("div", { className: "tip", hidden: true });
  const hint = make("p", { className: "facts", textContent: "Each disc is a small group of regions that are alike; near discs are alike, too. Click a disc to see its category. Scroll to enlarge, drag to move." });
  const frame = make("div", { className: "planeframe" }, canvas, tip);
  main.replaceChildren(make("div", { className: "bar" }, hint), frame);
  const brush = brushOf(canvas);
  const view = { scale: 1, x: 0, y: 0 };
  const middle = { x: Math.max(...places.x) / 2, y: Math.max(...places.y) / 2 }; // both begin at 0
  let hovered = -1;
  let regions = cut.regions();

  const size = () => {
    const high = Math.max(64, Math.min(canvas.clientWidth, canvas.clientHeight) - 2 * EDGE);
    return [Math.max(high, Math.min(canvas.clientWidth - 2 * EDGE, WIDEST * high)), high];
  };
  /** @param {number} i */
  const placeOf = (i) => {
    const [wide, high] = size();
    return [
      canvas.clientWidth / 2 + ((places.x[i] - middle.x) * wide + view.x) * view.scale,
      canvas.clientHeight / 2 + ((places.y[i] - middle.y) * high + view.y) * view.scale,
    ];
  };
  /** @param {number} i */
  const radiusOf = (i) => {
    const share = gathered.lists?.share[i] ?? 0;
    return (1.5 + LARGEST * Math.sqrt(share)) * Math.sqrt(view.scale);
  };

  const drawLabels = () => {
    const style = getComputedStyle(canvas);
    /** @type {Map<number, { x: number, y: number, share: number }>} */
    const middles = new Map();
    for (let i = 0; i < tree.leaves; i++) {
      const share = gathered.lists?.share[i] ?? 0;
      const [x, y] = placeOf(i);
      const known = middles.get(regions[i]);
      if (!known || known.share < share) middles.set(regions[i], { x, y, share });
    }
    brush.font = `600 13px ${style.fontFamily}`;
    brush.textAlign = "center";
    brush.textBaseline = "middle";
    brush.lineWidth = 4;
    brush.strokeStyle = style.getPropertyValue("--paper");
    brush.fillStyle = style.getPropertyValue("--ink");
    /** @type {[number, number, number, number][]} */
    const taken = [];
    const named = [...middles].filter(([category]) => gathered.naming.nameOf(category));
    named.sort((a, b) => (gathered.lists?.share[b[0]] ?? 0) - (gathered.lists?.share[a[0]] ?? 0));
    for (const [category, { x, y }] of named) {
      const text = gathered.label(category);
      const wide = brush.measureText(text).width / 2 + 4;
      const box = /** @type {[number, number, number, number]} */ ([x - wide, y - 10, x + wide, y + 10]);
      if (taken.some(([a, b, c, d]) => box[0] < c && box[2] > a && box[1] < d && box[3] > b)) continue;
      taken.push(box);
      brush.strokeText(text, x, y);
      brush.fillText(text, x, y);
    }
  };

  const draw = () => {
    const dense = devicePixelRatio;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(width * dense) || canvas.height !== Math.round(height * dense)) {
      canvas.width = Math.round(width * dense);
      canvas.height = Math.round(height * dense);
    }
    brush.setTransform(dense, 0, 0, dense, 0, 0);
    brush.clearRect(0, 0, width, height);
    const group = hovered < 0 ? -1 : regions[hovered];
    for (let i = 0; i < tree.leaves; i++) {
      const [x, y] = placeOf(i);
      brush.globalAlpha = group < 0 || regions[i] === group ? 0.85 : 0.2;
      brush.fillStyle = gathered.css(regions[i]);
      brush.beginPath();
      brush.arc(x, y, radiusOf(i), 0, 2 * Math.PI);
      brush.fill();
    }
    brush.globalAlpha = 1;
    drawLabels();
    canvas.ariaLabel = `Map of ${plural(tree.leaves, "group")} of regions`;
  };

  let asked = false;
  const drawSoon = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      if (canvas.isConnected) draw();
    });
  };

  /** @param {MouseEvent} event */
  const discAt = (event) => {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let found = -1;
    let least = Infinity;
    for (let i = 0; i < tree.leaves; i++) {
      const [a, b] = placeOf(i);
      const apart = Math.hypot(x - a, y - b) - radiusOf(i);
      if (apart < NEAR && apart < least) {
        found = i;
        least = apart;
      }
    }
    return found;
  };

  /** @param {MouseEvent} event */
  const showTip = (event) => {
    tip.hidden = hovered < 0;
    if (hovered < 0) return;
    const typical = gathered.lists?.typical[hovered] ?? [];
    const tiles = regionsOf(typical).slice(0, TIP).map(regionTile);
    const category = regions[hovered];
    const share = percent(gathered.lists?.share[category] ?? 0);
    tip.replaceChildren(
      make("p", { textContent: `${gathered.label(category)} · ${share} of all pixels` }),
      make("div", { className: "strip" }, ...tiles),
    );
    const box = frame.getBoundingClientRect();
    const left = Math.min(event.clientX - box.left + 14, box.width - tip.offsetWidth - 4);
    const top = event.clientY - box.top + 14;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${top + tip.offsetHeight > box.height ? top - tip.offsetHeight - 28 : top}px`;
  };

  /** @type {{ x: number, y: number, moved: boolean } | null} */
  let held = null;
  canvas.addEventListener("pointerdown", (event) => {
    held = { x: event.clientX, y: event.clientY, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (held) {
      const [x, y] = [event.clientX - held.x, event.clientY - held.y];
      if (!held.moved && Math.hypot(x, y) < 4) return;
      view.x += x / view.scale;
      view.y += y / view.scale;
      held = { x: event.clientX, y: event.clientY, moved: true };
      tip.hidden = true;
      drawSoon();
      return;
    }
    const disc = discAt(event);
    if (disc === hovered) return;
    hovered = disc;
    showTip(event);
    drawSoon();
  });
  canvas.addEventListener("pointerup", (event) => {
    const clicked = held && !held.moved;
    held = null;
    const disc = discAt(event);
    if (clicked && disc >= 0) location.hash = `category=${regions[disc]}`;
  });
  canvas.addEventListener("pointerleave", () => {
    hovered = -1;
    tip.hidden = true;
    drawSoon();
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const box = canvas.getBoundingClientRect();
    const x = event.clientX - box.left - box.width / 2;
    const y = event.clientY - box.top - box.height / 2;
    const scale = Math.max(1, Math.min(CLOSEST, view.scale * Math.exp(-event.deltaY / 400)));
    view.x += x / scale - x / view.scale;
    view.y += y / scale - y / view.scale;
    if (scale === 1) view.x = view.y = 0;
    view.scale = scale;
    drawSoon();
  }, { passive: false });
  new ResizeObserver(drawSoon).observe(canvas);
  draw();
  return () => {
    regions = cut.regions();
    drawSoon();
  };
}

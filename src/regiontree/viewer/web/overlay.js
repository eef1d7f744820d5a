// One photograph under the colours of its categories.

import { announce, brushOf, make } from "./elements.js";
import { pixel } from "./palettes.js";
import { readLabels } from "./payload.js";
import { nameField, swatchOf } from "./rows.js";
import { Tree } from "./tree.js";
import { percent } from "./words.js";

/**
 * @import { Gathered } from "./gathered.js"
 *
 * What the server tells about a photograph: see `photograph_data` of categoriespage.py.
 *
 * @typedef {object} PhotographData
 * @property {string} id
 * @property {string | null} notice
 * @property {[number, number]} view
 * @property {string} labels
 * @property {number} label_bytes
 * @property {number[]} parents
 * @property {number[]} area
 * @property {number[]} divisions
 * @property {number[]} categories - the finest one of each node
 */

const OPACITY = 0.5;
const FAINT = 0.16; // of what is not pointed at
const LINE = 0xe6ffffff;

/**
 * Show a photograph. Returns a function that shows a change.
 *
 * @param {HTMLElement} main
 * @param {Gathered} gathered
 * @param {number} photo
 * @param {PhotographData} data
 * @param {number} selected - node of a region; -1 for none
 */
export async function showOverlay(main, gathered, photo, data, selected) {
  const { cut, naming } = gathered;
  const labels = await readLabels(data);
  const tree = new Tree(data);
  const [height, width] = data.view;
  const canvas = make("canvas", { width, height, className: "regions" });
  canvas.role = "img";
  const picture = make("img", { alt: "", src: data.notice ? "" : `photograph/${photo}.jpg` });
  picture.hidden = data.notice !== null;
  const frame = make("div", { className: "frame" }, picture, canvas);
  const colours = make("input", { type: "checkbox", checked: true });
  const title = make("h2", { textContent: data.id });
  title.dir = "auto";
  const around = make("p", { className: "around" });
  if (photo > 0) around.append(make("a", { rel: "prev", href: `#photograph=${photo - 1}`, textContent: "← Previous" }));
  if (photo + 1 < gathered.photographs) {
    around.append(make("a", { rel: "next", href: `#photograph=${photo + 1}`, textContent: "Next →" }));
  }
  const legend = make("ul", { className: "legend" });
  const chosen = make("div", { className: "chosen" });
  const notice = make("p", { className: "notice", hidden: !data.notice, textContent: data.notice ?? "" });
  const side = make("section", { className: "side" },
    title, around, make("label", { className: "row" }, colours, " Colours"), notice, chosen, legend,
  );
  side.ariaLabel = "Categories of this photograph";
  const page = make("div", { className: "overlay" }, frame, side);
  page.style.setProperty("--ratio", String(width / height));
  main.replaceChildren(page);

  const brush = brushOf(canvas);
  const image = brush.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  /** The node of each leaf in the cut of the photograph; the category of each node. */
  let nodes = new Int32Array(tree.leaves);
  /** @type {Map<number, number>} */
  let categories = new Map();
  let hovered = -1; // a category
  let pointed = -1; // a node

  const arrange = () => {
    const m = tree.steps[tree.stepOf(gathered.regions)];
    nodes = tree.regionsOf(m).subarray(0, tree.leaves);
    const shown = cut.regions();
    categories = new Map();
    for (const node of nodes) {
      if (categories.has(node)) continue;
      const moved = naming.movedTo(photo, node);
      const finest = moved === undefined ? data.categories[node] : gathered.heirs[moved];
      categories.set(node, finest < 0 ? -1 : shown[finest]);
    }
    if (!categories.has(selected)) {
      // Another granularity: the region that holds the selected one, else none.
      selected = selected < 0 ? -1 : tree.path(selected).findLast((node) => categories.has(node)) ?? -1;
    }
  };

  const draw = () => {
    const fill = new Uint32Array(tree.leaves);
    const group = new Int32Array(tree.leaves);
    const marked = new Uint8Array(tree.leaves);
    for (let leaf = 0; leaf < tree.leaves; leaf++) {
      const node = nodes[leaf];
      const category = categories.get(node) ?? -1;
      group[leaf] = category;
      marked[leaf] = node === selected ? 2 : node === pointed ? 1 : 0;
      if (category < 0 || !colours.checked) continue;
      const [red, green, blue] = gathered.colors.subarray(3 * category, 3 * category + 3);
      const faint = hovered >= 0 && category !== hovered;
      fill[leaf] = pixel(red, green, blue, faint ? FAINT : OPACITY);
    }
    const thick = Math.max(width, height) > 720 ? 2 : 1;
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i++) {
        const leaf = labels[i];
        let edge = false;
        for (let step = 1; step <= thick; step++) {
          const right = x + step < width ? labels[i + step] : leaf;
          const below = y + step < height ? labels[i + step * width] : leaf;
          edge ||= group[right] !== group[leaf] || group[below] !== group[leaf];
          edge ||= marked[right] !== marked[leaf] || marked[below] !== marked[leaf];
        }
        pixels[i] = edge && (colours.checked || marked[leaf]) ? LINE : fill[leaf];
      }
    }
    brush.putImageData(image, 0, 0);
    canvas.ariaLabel = `${data.id}, by category`;
  };

  const showLegend = () => {
    /** @type {Map<number, number>} */
    const area = new Map();
    for (const [node, category] of categories) {
      area.set(category, (area.get(category) ?? 0) + data.area[node]);
    }
    const whole = data.area[data.area.length - 1];
    const rows = [...area].filter(([category]) => category >= 0).sort((a, b) => b[1] - a[1]);
    legend.replaceChildren(...rows.map(([category, pixelsOf]) => {
      const swatch = swatchOf(gathered, category);
      const name = make("span", { textContent: gathered.label(category) });
      name.dir = "auto";
      const link = make("a", { href: `#category=${category}` }, swatch, name,
        make("span", { className: "facts", textContent: percent(pixelsOf / whole) }));
      const enter = () => {
        hovered = category;
        draw();
      };
      const leave = () => {
        hovered = -1;
        draw();
      };
      link.addEventListener("pointerenter", enter);
      link.addEventListener("pointerleave", leave);
      link.addEventListener("focus", enter);
      link.addEventListener("blur", leave);
      return make("li", {}, link);
    }));
  };

  const showChosen = () => {
    const category = categories.get(selected) ?? -1;
    if (selected < 0 || category < 0) {
      chosen.replaceChildren(make("p", { className: "facts", textContent: "Click a region to name its category, to move it, or to find more like it." }));
      return;
    }
    const swatch = swatchOf(gathered, category);
    const { field } = nameField(gathered, category);
    const moved = naming.movedTo(photo, selected);
    const target = make("input", { type: "text", className: "target", placeholder: "Name or number" });
    target.setAttribute("autocomplete", "off");
    target.setAttribute("list", "known");
    target.ariaLabel = "Move this region to the category";
    target.dir = "auto";
    const move = make("button", { type: "submit", textContent: "Move" });
    const form = make("form", { className: "move" }, make("label", {}, "Move only this region to ", target), move);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const to = gathered.categoryOf(target.value);
      if (to === null) {
        target.setCustomValidity("No category has this name.");
        target.reportValidity();
        return;
      }
      naming.move(photo, selected, to);
      announce(`Moved to ${gathered.label(to)}.`);
    });
    target.addEventListener("input", () => target.setCustomValidity(""));
    const back = make("button", { type: "button", textContent: "Move back", hidden: moved === undefined });
    back.addEventListener("click", () => naming.move(photo, selected, null));
    const share = percent(data.area[selected] / data.area[data.area.length - 1]);
    chosen.replaceChildren(
      make("div", { className: "title" }, swatch, field),
      make("p", { className: "facts", textContent: `This region has ${share} of the photograph.${moved === undefined ? "" : " It was moved here."}` }),
      make("p", {}, make("a", { href: `#like=${photo},${selected}`, textContent: "Find more like this" }), " · ",
        make("a", { href: `#category=${category}`, textContent: "See the category" })),
      form, back,
    );
  };

  /** @param {MouseEvent} event */
  const nodeAt = (event) => {
    const box = canvas.getBoundingClientRect();
    const x = Math.floor(((event.clientX - box.left) / box.width) * width);
    const y = Math.floor(((event.clientY - box.top) / box.height) * height);
    if (x < 0 || y < 0 || x >= width || y >= height) return -1;
    return nodes[labels[y * width + x]];
  };
  canvas.addEventListener("pointermove", (event) => {
    const node = nodeAt(event);
    if (node === pointed) return;
    pointed = node;
    canvas.title = node < 0 ? "" : gathered.label(categories.get(node) ?? -1);
    draw();
  });
  canvas.addEventListener("pointerleave", () => {
    pointed = -1;
    draw();
  });
  canvas.addEventListener("click", (event) => {
    const node = nodeAt(event);
    history.replaceState(null, "", node < 0 ? `#photograph=${photo}` : `#photograph=${photo},${node}`);
    selected = node;
    draw();
    showChosen();
  });
  colours.addEventListener("input", draw);

  const show = () => {
    arrange();
    draw();
    showLegend();
    const focused = document.activeElement;
    if (!(focused instanceof HTMLInputElement && chosen.contains(focused) && focused.value !== (focused.dataset.saved ?? ""))) {
      showChosen();
    }
  };
  show();
  return show;
}

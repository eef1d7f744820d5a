// The same in words: the panel, the path from the root, and what a screen reader is told.

const plural = (count, noun) => `${grouped(count)} ${noun}${count === 1 ? "" : "s"}`;

function percent(node) {
  const value = 100 * shares[node];
  return `${value >= 10 || value === 0 ? value.toFixed(0) : value.toPrecision(2)}\u00a0%`;
}

function title(node) {
  return node === tree.root ? "Whole image" : `Region ${node}`;
}

function values(node) {
  const inner = tree.children[node].length, short = (value) => `${Number(value.toPrecision(3))}`;
  const found = [
    ["Area", `${plural(data.area[node], "pixel")}, ${percent(node)}`],
    ["Depth", `${tree.level[node]} of ${tree.depth}`],
    ["Height", short(data.height[node])],
    ["Below", plural(tree.below[node], "node")],
    ["Ends", data.reasons[data.stop[node]]],
  ];
  if (inner) found[4] = ["Divided", `into ${plural(inner, "region")}`];
  if (data.ncut && node !== tree.root) found.push(["Normalised cut", short(data.ncut[node])]);
  return found;
}

function inWords(node) {
  const [, ...rest] = values(node);
  const facts = rest.map(([name, value]) => `${name.toLowerCase()} ${value}`).join(", ");
  return `${title(node)}: ${percent(node)} of the image, ${facts}.`;
}

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** A region's shape, small: where it lies in the image says more than a number. */
function silhouette(node) {
  const ratio = width / height, side = 64;
  const canvas = element("canvas", {
    width: Math.max(8, Math.round(ratio > 1 ? side : side * ratio)),
    height: Math.max(8, Math.round(ratio > 1 ? side / ratio : side)),
  });
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const inside = tree.inside(node), dots = new Uint32Array(image.data.buffer);
  const [red, green, blue] = palettes[state.colors].subarray(3 * node, 3 * node + 3);
  for (let y = 0, i = 0; y < canvas.height; y++) {
    const row = Math.floor(((y + 0.5) / canvas.height) * height) * width;
    for (let x = 0; x < canvas.width; x++, i++) {
      const leaf = view.labels[row + Math.floor(((x + 0.5) / canvas.width) * width)];
      dots[i] = inside[leaf] ? rgba(red, green, blue, 1) : 0;
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

function tellPath() {
  const { selected } = state;
  const crumbs = tree.path(selected < 0 ? tree.root : selected).map((node) => {
    const button = element("button", { type: "button" }, silhouette(node), percent(node));
    button.addEventListener("click", () => select(node));
    button.setAttribute("aria-label", `${title(node)}, ${percent(node)}`);
    if (node === selected) button.setAttribute("aria-current", "true");
    return element("li", {}, button);
  });
  $("path").replaceChildren(...crumbs);
  $("path").scrollLeft = $("path").scrollWidth;
}

/** Tree items of the path, its siblings and the children: what can be reached with one key. */
function tellItems() {
  const { selected } = state;
  const path = tree.path(selected < 0 ? tree.root : selected);
  const item = (node, i, siblings) => {
    const text = `${title(node)}, ${percent(node)}`;
    const made = element("div", { id: `node-${node}`, role: "treeitem", textContent: text });
    made.ariaLevel = tree.level[node] + 1;
    made.ariaSetSize = siblings.length;
    made.ariaPosInSet = i + 1;
    made.ariaSelected = node === selected;
    if (tree.children[node].length) made.ariaExpanded = path.includes(node);
    return made;
  };
  const rows = path.flatMap((node, depth) => {
    const siblings = tree.children[node];
    const here = Math.max(0, siblings.indexOf(path[depth + 1] ?? way[node]));
    const first = Math.max(0, here - 20); // of thousands, those nearby
    return siblings.slice(first, here + 21).map((child, i) => item(child, first + i, siblings));
  });
  $("items").replaceChildren(item(tree.root, 0, [tree.root]), ...rows);
  if (selected < 0) $("tree").removeAttribute("aria-activedescendant");
  else $("tree").setAttribute("aria-activedescendant", `node-${selected}`);
}

function tellRegion() {
  const node = state.selected >= 0 ? state.selected : state.hovered;
  $("region").textContent = node >= 0 ? title(node) : "Nothing selected";
  $("reading").hidden = node >= 0;
  const facts = (node < 0 ? [] : values(node)).map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, value)));
  $("values").replaceChildren(...facts);
  $("clear").hidden = state.selected < 0;
  $("save-mask").disabled = state.selected < 0;
}

function tellCut() {
  const count = tree.counts[state.m];
  const of = most > 1 ? `of ${grouped(most)}` : "only: the image was not divided";
  const noun = count === 1 ? " region " : " regions ";
  $("count").replaceChildren(element("b", {}, grouped(count)), noun, element("span", {}, of));
  $("slider").ariaValueText = plural(count, "region");
  // A slider in focus speaks for itself, and playing is to be watched.
  const silent = playing || document.activeElement === $("slider");
  if (!silent) $("live").textContent = `${plural(count, "region")}.`;
  $("natural").ariaPressed = state.m === data.natural;
  $("save-cut").disabled = count > 65535; // as many as 16 bits can number
  regions.ariaLabel = `${data.name}, divided into ${plural(count, "region")}`;
}

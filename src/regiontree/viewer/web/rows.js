// Categories as rows: the name of each, and its typical regions.

import { make } from "./elements.js";
import { preorder } from "./palettes.js";
import { regionTile, regionsOf, stopLoading } from "./tiles.js";
import { grouped, percent, plural } from "./words.js";

/**
 * @import { Gathered } from "./gathered.js"
 */

const REST = 90; // milliseconds without a change after which pictures are loaded

/**
 * A field for the name of a category.
 *
 * @param {Gathered} gathered
 * @param {number} category
 */
export function nameField(gathered, category) {
  const { naming } = gathered;
  const field = make("input", { className: "name", type: "text", spellcheck: false });
  field.setAttribute("autocomplete", "off");
  field.setAttribute("list", "known");
  field.maxLength = 1000;
  field.dir = "auto"; // a name may be in Hebrew or Arabic
  field.readOnly = !gathered.data.saves;
  field.dataset.category = String(category);
  const show = () => {
    const own = naming.own.get(category) ?? "";
    if (document.activeElement !== field || field.value === field.dataset.saved) field.value = own;
    field.dataset.saved = own;
    const found = naming.nameOf(category);
    const above = found && found.from !== category ? found.name : "";
    const suggestion = naming.suggested.get(category);
    field.placeholder = above
      ? `${above} (from above)`
      : suggestion
        ? `${suggestion.name}? (${percent(suggestion.confidence)})`
        : "Name";
    field.ariaLabel = `Name of category ${category}`;
    field.title = above ? `Named by the category above: ${above}` : "";
  };
  const save = () => {
    if (field.value.trim() !== field.dataset.saved) naming.give(category, field.value);
  };
  field.addEventListener("blur", save);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      event.preventDefault();
      save();
      const fields = [...document.querySelectorAll("input.name")];
      const next = fields[fields.indexOf(field) + (event.shiftKey ? -1 : 1)];
      if (next instanceof HTMLInputElement) {
        next.focus();
        next.select();
      }
    } else if (event.key === "Escape") {
      field.value = field.dataset.saved ?? "";
      field.blur();
      event.stopPropagation();
    }
  });
  show();
  return { field, show };
}

/**
 * A patch of the colour of a category.
 *
 * @param {Gathered} gathered
 * @param {number} category
 */
export function swatchOf(gathered, category) {
  const swatch = make("span", { className: "swatch" });
  swatch.style.backgroundColor = gathered.css(category);
  return swatch;
}

/**
 * What is known about a category, in words.
 *
 * @param {Gathered} gathered
 * @param {number} category
 */
export function factsOf(gathered, category) {
  const { lists } = gathered;
  if (!lists) return "";
  const share = percent(lists.share[category]);
  return `${share} of all pixels · ${plural(lists.count[category], "region")}`;
}

/**
 * Show the categories. Returns a function that shows a change.
 *
 * @param {HTMLElement} main
 * @param {Gathered} gathered
 */
export function showRows(main, gathered) {
  const { cut, tree, naming } = gathered;
  const order = make("select", { id: "order" },
    make("option", { value: "size", textContent: "Largest first" }),
    make("option", { value: "kind", textContent: "Alike together" }),
  );
  order.ariaLabel = "Order of the categories";
  order.value = gathered.order;
  const facts = make("p", { className: "facts" });
  const list = make("ol", { className: "rows" });
  main.replaceChildren(make("div", { className: "bar" }, facts, order), list);
  /** @type {Map<number, { row: HTMLElement, update: () => void, fill: () => void, leave: () => void }>} */
  let rows = new Map();
  const place = new Map(preorder(tree).map((node, rank) => [node, rank]));

  /** @type {Set<Element>} rows in sight */
  const near = new Set();
  let timer = 0;
  const fillSoon = () => {
    clearTimeout(timer);
    timer = window.setTimeout(() => {
      for (const row of near) {
        if (row instanceof HTMLElement) rows.get(Number(row.dataset.category))?.fill();
      }
    }, REST);
  };
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (isIntersecting) near.add(target);
        else near.delete(target);
      }
      fillSoon();
    },
    { rootMargin: "400px" },
  );

  /** @param {number} node */
  const makeRow = (node) => {
    const { field, show } = nameField(gathered, node);
    const swatch = swatchOf(gathered, node);
    const words = make("p", { className: "facts" });
    const strip = make("div", { className: "strip" });
    const all = make("a", { className: "all", href: `#category=${node}` });
    const split = make("button", { type: "button", textContent: "Split" });
    split.title = "Show the two or more categories that this one consists of (s)";
    split.className = "split";
    split.disabled = !tree.children[node].length;
    split.addEventListener("click", () => gathered.open(node));
    const join = make("button", { type: "button", textContent: "Join" });
    join.className = "join";
    join.title = "Show the category above this one instead (j)";
    join.disabled = node === tree.root;
    join.addEventListener("click", () => gathered.close(node));
    const head = make("div", { className: "head" },
      make("div", { className: "title" }, swatch, field), words,
      make("div", { className: "tools" }, split, join, all),
    );
    const row = make("li", { className: "row" }, head, strip);
    row.dataset.category = String(node);
    let filled = "";
    const fill = () => {
      const typical = gathered.lists?.typical[node] ?? [];
      const wanted = `${gathered.regions} ${typical.join()}`;
      if (filled === wanted) return;
      filled = wanted;
      strip.replaceChildren(...regionsOf(typical).map(regionTile));
    };
    const update = () => {
      show();
      words.textContent = factsOf(gathered, node);
      all.textContent = gathered.lists ? `See all ${grouped(gathered.lists.count[node])}` : "See all";
      all.hidden = !gathered.lists?.count[node];
    };
    const leave = () => {
      watcher.unobserve(row);
      near.delete(row);
      stopLoading(row);
    };
    update();
    watcher.observe(row);
    return { row, update, fill, leave };
  };

  const show = () => {
    const nodes = cut.nodes();
    const { lists } = gathered;
    if (gathered.order === "kind") {
      nodes.sort((a, b) => (place.get(a) ?? 0) - (place.get(b) ?? 0));
    } else if (lists) {
      nodes.sort((a, b) => lists.share[b] - lists.share[a] || a - b);
    }
    const focused = document.activeElement;
    const before = rows;
    rows = new Map(nodes.map((node) => [node, before.get(node) ?? makeRow(node)]));
    for (const [node, { leave }] of before) if (!rows.has(node)) leave();
    const shown = [...rows.values()].map(({ row }) => row);
    // A field that is moved loses the focus, so rows are only moved if they must be.
    if (shown.some((row, i) => row !== list.children[i]) || shown.length !== list.childElementCount) {
      list.replaceChildren(...shown);
    }
    for (const { update } of rows.values()) update();
    fillSoon();
    if (focused instanceof HTMLElement && list.contains(focused)) focused.focus();
    const named = nodes.filter((node) => naming.nameOf(node)).length;
    const covered = lists ? nodes.filter((node) => naming.nameOf(node)).reduce((sum, node) => sum + lists.share[node], 0) : 0;
    facts.textContent =
      `${plural(gathered.photographs, "photograph")}, ${nodes.length === 1 ? "1 category" : `${grouped(nodes.length)} categories`}; ` +
      `${grouped(named)} named, with ${percent(covered)} of all pixels`;
  };

  order.addEventListener("change", () => {
    gathered.order = order.value === "kind" ? "kind" : "size";
    show();
  });
  show();
  return show;
}

// The page of a collection: which view is shown, the sliders, the keys, and what is saved.

import { announce, byId, make } from "./elements.js";
import { Gathered } from "./gathered.js";
import { Naming } from "./naming.js";
import { showOverlay } from "./overlay.js";
import { showPlane } from "./plane.js";
import { ask } from "./requests.js";
import { factsOf, nameField, showRows, swatchOf } from "./rows.js";
import { countAt, positionOf } from "./scale.js";
import { photographTile, regionTile, regionsOf, showMany, stopLoading } from "./tiles.js";
import { grouped, plural } from "./words.js";

/**
 * @import { Edit } from "./naming.js"
 * @import { Shown } from "./tiles.js"
 */

const PAUSE = 120; // milliseconds that a slider rests before the server is asked

const data = JSON.parse(byId("data", HTMLElement).textContent ?? "");
const main = byId("main", HTMLElement);
const notices = byId("notices", HTMLElement);
const saved = byId("saved", HTMLElement);

/** @param {string} sentence */
function tell(sentence) {
  const close = make("button", { type: "button", textContent: "✕" });
  close.ariaLabel = "Close this notice";
  const line = make("p", {}, sentence, " ", close);
  close.addEventListener("click", () => {
    line.remove();
    notices.hidden = !notices.childElementCount;
  });
  notices.append(line);
  notices.hidden = false;
  announce(sentence);
}

/** @param {unknown} error */
function tellError(error) {
  if (error instanceof DOMException && error.name === "AbortError") return;
  tell(error instanceof TypeError ? "The server does not answer." : String(error instanceof Error ? error.message : error));
}

/** @type {Pick<Storage, "getItem" | "setItem">} */
let store = { getItem: () => null, setItem: () => {} };
try {
  store = localStorage;
} catch {
  // The browser keeps nothing: what is not sent is lost if the page is closed.
}

const naming = new Naming({
  send: (edits) => ask("names", { body: edits }),
  load: () => ask("names"),
  tell,
  store,
  key: `regiontree ${data.key}`,
  wait: (milliseconds) => new Promise((done) => setTimeout(done, milliseconds)),
});
const gathered = new Gathered(data, naming);

// -- views -----------------------------------------------------------------------------------------

/** @type {(() => void) | null} shows a change in the view that is open */
let update = null;
let opened = 0; // counts views, so that a late answer does not show an old one
/** @type {(() => void) | null} opens the view again with other regions */
let reopen = null;

/** @param {string} text */
function numbersOf(text) {
  return text.split(",").map(Number);
}

/**
 * A list of regions below a heading.
 *
 * @param {HTMLElement[]} heading
 * @param {(first: number) => Promise<{ total: number, items: Shown[] }>} more
 */
function showTiles(heading, more) {
  const list = make("div", { className: "tiles" });
  main.replaceChildren(make("div", { className: "bar" }, ...heading), list);
  showMany(list, more, regionTile, tellError);
}

/** @param {number} category */
function showCategory(category) {
  const { field, show } = nameField(gathered, category);
  const swatch = swatchOf(gathered, category);
  const facts = make("p", { className: "facts" });
  const refresh = () => {
    show();
    facts.textContent = factsOf(gathered, category);
  };
  refresh();
  update = refresh;
  reopen = () => showCategory(category);
  const back = make("a", { href: "#categories", textContent: "← All categories" });
  showTiles([back, make("div", { className: "title" }, swatch, field), facts], async (first) => {
    const answer = await ask(`category/${category}/${gathered.regions}?first=${first}`);
    return { total: answer.total, items: regionsOf(answer.regions) };
  });
}

/**
 * @param {number} photo
 * @param {number} node
 */
function showLike(photo, node) {
  update = null;
  reopen = null;
  const heading = make("div", { className: "title" }, regionTile({ photo, node }),
    make("p", { textContent: "Regions like this one, the most alike first. They are those that the collection was made of." }));
  const back = make("a", { href: "#categories", textContent: "← All categories" });
  showTiles([back, heading], async () => {
    const { regions } = await ask(`like/${photo}/${node}`);
    return {
      total: regions.length,
      items: regions.map((/** @type {[number, number, number]} */ [like, inside, likeness]) => (
        { photo: like, node: inside, title: `Likeness ${likeness.toFixed(2)}` }
      )),
    };
  });
}

let wanted = ""; // words in the names of photographs

function showPhotographs() {
  update = null;
  reopen = null;
  const field = make("input", { id: "filter", type: "search", placeholder: "Filter by name", value: wanted });
  field.ariaLabel = "Filter by name";
  field.setAttribute("autocomplete", "off");
  const facts = make("p", { className: "facts" });
  const holder = make("div", {});
  main.replaceChildren(make("div", { className: "bar" }, facts, field), holder);
  const show = () => {
    const list = make("div", { className: "photographs" });
    holder.replaceChildren(list);
    const query = encodeURIComponent(wanted);
    showMany(list, async (first) => {
      const { total, photographs } = await ask(`photographs?first=${first}&name=${query}`);
      facts.textContent = plural(total, "photograph");
      return { total, items: photographs };
    }, (/** @type {[number, string]} */ [number, name]) => photographTile(number, name), tellError);
  };
  let timer = 0;
  field.addEventListener("input", () => {
    wanted = field.value;
    clearTimeout(timer);
    timer = window.setTimeout(show, PAUSE);
  });
  show();
}

/** Show what the address names behind its #. */
async function open() {
  const number = ++opened;
  const [view, rest = ""] = location.hash.slice(1).split("=");
  const [first, second = -1] = numbersOf(rest);
  const tab = { category: "categories", like: "categories", photograph: "photographs" }[view] ?? view;
  for (const link of document.querySelectorAll("#tabs a")) {
    const isOpen = link.getAttribute("data-view") === (tab || "categories");
    if (isOpen) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  update = null;
  reopen = null;
  stopLoading(main);
  scrollTo(0, 0);
  try {
    if (view === "category" && first <= gathered.tree.root) showCategory(first);
    else if (view === "like") showLike(first, second);
    else if (view === "photographs") showPhotographs();
    else if (view === "map") {
      main.replaceChildren(make("p", { className: "facts", textContent: "The map is being made…" }));
      const places = await ask("map");
      if (number === opened) update = showPlane(main, gathered, places);
    } else if (view === "photograph") {
      const photograph = await ask(`photograph/${first}`);
      if (number !== opened) return;
      const show = await showOverlay(main, gathered, first, photograph, second);
      if (number === opened) update = show;
    } else update = showRows(main, gathered);
  } catch (error) {
    if (number !== opened) return;
    main.replaceChildren();
    tellError(error);
  }
}

// -- lists of regions ------------------------------------------------------------------------------

let asking = new AbortController();

async function loadLists() {
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  try {
    const lists = await ask(`regions/${gathered.regions}`, { signal });
    if (!signal.aborted) gathered.setLists(lists);
  } catch (error) {
    tellError(error);
  }
}

// -- sliders ---------------------------------------------------------------------------------------

/**
 * A slider of a number, on a logarithmic scale.
 *
 * @param {string} id
 * @param {string} shown - id of the element that shows the number
 * @param {() => number} most
 * @param {() => number} now
 * @param {(count: number) => void} set
 */
function addSlider(id, shown, most, now, set) {
  const slider = byId(id, HTMLInputElement);
  const text = byId(shown, HTMLElement);
  slider.dataset.most = String(most());
  const show = () => {
    text.textContent = grouped(now());
    slider.ariaValueText = grouped(now());
    if (document.activeElement !== slider || countAt(slider.valueAsNumber, most()) !== now()) {
      slider.value = String(positionOf(now(), most()));
    }
  };
  slider.addEventListener("input", () => set(countAt(slider.valueAsNumber, most())));
  slider.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
    if (!steps) return;
    event.preventDefault();
    set(Math.max(1, Math.min(most(), now() + steps)));
    slider.value = String(positionOf(now(), most()));
  });
  show();
  return show;
}

const showCount = addSlider("categories-slider", "count", () => gathered.tree.most, () => gathered.cut.nodes().length,
  (count) => gathered.setCategories(count));
const showRegions = addSlider("regions-slider", "regions", () => data.most, () => gathered.regions,
  (count) => gathered.setRegions(count));

// -- changes ---------------------------------------------------------------------------------------

let drawing = false;
let timer = 0;

function updateSoon() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    update?.();
  });
}

function showSaved() {
  byId("undo", HTMLButtonElement).disabled = !naming.canUndo;
  byId("redo", HTMLButtonElement).disabled = !naming.canRedo;
  const words = {
    saved: data.saves ? "All names are saved" : "Names cannot be saved here",
    saving: "Saving…",
    waiting: `Not saved yet: ${plural(naming.waiting, "change")}. ${naming.reason}`,
  };
  saved.textContent = words[naming.status];
  saved.classList.toggle("waiting", naming.status === "waiting");
  const known = byId("known", HTMLElement);
  known.replaceChildren(...naming.all().map((name) => make("option", { value: name })));
}

let moves = 0;
gathered.on((change) => {
  showCount();
  showRegions();
  if (change === "regions" || (change === "names" && naming.status === "saved" && moves !== naming.moves)) {
    moves = naming.moves;
    clearTimeout(timer);
    timer = window.setTimeout(() => {
      loadLists();
      if (change === "regions") reopen?.();
    }, PAUSE);
  }
  if (change === "names") showSaved();
  updateSoon();
});

/** @param {Edit | null} edit */
function say(edit) {
  if (!edit) return;
  if ("photo" in edit) announce("The region was moved.");
  else announce(edit.name ? `Named ${edit.name}.` : "The name was taken away.");
}

byId("undo", HTMLButtonElement).addEventListener("click", () => say(naming.undo()));
byId("redo", HTMLButtonElement).addEventListener("click", () => say(naming.redo()));

// -- keys ------------------------------------------------------------------------------------------

/** The name field or tile in the next row, or the one before. */
const FOCUSED = "input.name, .row .tile > a:first-child";

/** @param {KeyboardEvent} event */
function actionOf({ key, target }) {
  const here = target instanceof HTMLElement ? target : document.body;
  const category = Number(here.closest("[data-category]")?.getAttribute("data-category") ?? -1);
  const tile = here.closest(".tile");
  /** @type {Record<string, () => unknown>} */
  const actions = {
    "+": () => gathered.stepCategories(1),
    "=": () => gathered.stepCategories(1), // the same key as +, without Shift
    "-": () => gathered.stepCategories(-1),
    ".": () => gathered.setRegions(gathered.regions + 1),
    ",": () => gathered.setRegions(gathered.regions - 1),
    1: () => location.assign("#categories"),
    2: () => location.assign("#map"),
    3: () => location.assign("#photographs"),
    n: () => /** @type {HTMLElement | null} */ (document.querySelector("input.name"))?.focus(),
    s: () => category >= 0 && gathered.tree.children[category].length && gathered.open(category),
    j: () => category >= 0 && gathered.close(category),
    l: () => tile instanceof HTMLElement && location.assign(`#like=${tile.dataset.photo},${tile.dataset.node}`),
    Escape: () => location.assign("#categories"),
  };
  return actions[key];
}

addEventListener("keydown", (event) => {
  const { target } = event;
  if (event.isComposing) return;
  const field = target instanceof HTMLInputElement && target.type !== "range" && target.type !== "checkbox" ? target : null;
  if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "z") {
    // While a text is being written, the browser takes back what was written.
    if (field && field.value !== (field.dataset.saved ?? "")) return;
    event.preventDefault();
    say(event.shiftKey ? naming.redo() : naming.undo());
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if ((event.key === "ArrowDown" || event.key === "ArrowUp") && target instanceof HTMLElement && target.matches(FOCUSED) && !field) {
    const row = target.closest(".row");
    const next = event.key === "ArrowDown" ? row?.nextElementSibling : row?.previousElementSibling;
    const link = next?.querySelector(".tile > a");
    if (link instanceof HTMLElement) {
      event.preventDefault();
      link.focus();
    }
    return;
  }
  if (field) return;
  const action = actionOf(event);
  if (!action) return;
  event.preventDefault();
  action();
});

addEventListener("hashchange", open);
addEventListener("focus", () => naming.refresh()); // others may have named something
addEventListener("beforeunload", (event) => {
  if (naming.waiting) event.preventDefault();
});

// -- start -----------------------------------------------------------------------------------------

open();
loadLists();
try {
  naming.begin(await ask("names"));
} catch (error) {
  tellError(error);
  naming.begin({ own: [], parents: data.parents, moved: [], suggested: [], told: [] });
}
moves = naming.moves;
showSaved();
document.documentElement.dataset.ready = "true";

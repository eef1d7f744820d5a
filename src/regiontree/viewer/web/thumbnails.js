// The page of thumbnails: a filter by name, and keys that go from image to image.

import { byId } from "./elements.js";
import { matcher, plainText } from "./filter.js";

const MANY = 8; // images: with fewer, a filter is no help

const filter = byId("filter", HTMLInputElement);
const facts = byId("facts", HTMLElement);
const total = facts.textContent ?? "";
const list = byId("images", HTMLElement);
const searches = "searches" in list.dataset; // the server finds images of other pages
const images = Array.from(list.children, (element) => {
  const item = /** @type {HTMLElement} */ (element);
  const link = item.querySelector("a");
  if (!link) throw new TypeError("an image has no link");
  return { item, link, name: plainText(item.querySelector(".name")?.textContent ?? "") };
});

function showMatches() {
  const matches = matcher(filter.value);
  let shown = 0;
  for (const { item, name } of images) {
    item.hidden = !matches(name);
    if (!item.hidden) shown++;
  }
  facts.textContent = shown < images.length ? `${shown.toLocaleString("en")} of ${total}` : total;
}

function shownLinks() {
  return images.filter(({ item }) => !item.hidden).map(({ link }) => link);
}

/**
 * The link in the next row that is closest to the middle of this one.
 *
 * @param {HTMLElement} link
 * @param {1 | -1} direction - 1 is down, -1 is up
 */
function linkInNextRow(link, direction) {
  const here = link.getBoundingClientRect();
  const middle = here.left + here.width / 2;
  let closest = null;
  let least = Infinity;
  for (const other of shownLinks()) {
    const there = other.getBoundingClientRect();
    const rows = (there.top - here.top) * direction;
    if (rows < 1) continue;
    // A link of a nearer row always costs less, wherever it lies in that row.
    const cost = rows * 1e6 + Math.abs(there.left + there.width / 2 - middle);
    if (cost < least) {
      closest = other;
      least = cost;
    }
  }
  return closest;
}

/**
 * The link that a key goes to; undefined for a key without a meaning, null if there is no such link.
 *
 * @param {string} key
 */
function linkOfKey(key) {
  const links = shownLinks();
  const place = links.findIndex((link) => link === document.activeElement);
  switch (key) {
    case "ArrowRight": return links[place + 1] ?? null;
    case "ArrowLeft": return links[Math.max(0, place - 1)] ?? null;
    case "Home": return links[0] ?? null;
    case "End": return links.at(-1) ?? null;
    case "ArrowDown": return place < 0 ? undefined : linkInNextRow(links[place], 1);
    case "ArrowUp": return place < 0 ? undefined : linkInNextRow(links[place], -1);
    default: return undefined;
  }
}

/** @param {KeyboardEvent} event */
function answerKeyOfFilter(event) {
  if (event.key === "Escape") {
    filter.value = "";
    showMatches();
  } else if (event.key === "Enter" && searches && filter.value.trim()) {
    location.search = new URLSearchParams({ name: filter.value.trim() }).toString();
  } else if (event.key === "ArrowDown" || event.key === "Enter") {
    shownLinks()[0]?.focus();
    event.preventDefault();
  }
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target === filter) {
    answerKeyOfFilter(event);
    return;
  }
  const link = event.key === "/" && !filter.hidden ? filter : linkOfKey(event.key);
  if (link === undefined) return;
  link?.focus();
  event.preventDefault();
});

filter.hidden = images.length < MANY && !searches;
if (searches) {
  filter.placeholder = "Filter by name; Enter searches all pages";
  filter.classList.add("wide");
}
filter.addEventListener("input", showMatches);
showMatches(); // a browser that goes back to the page fills in the old query

for (const { link } of images) {
  const picture = link.querySelector("img");
  const markBroken = () => link.classList.add("broken");
  picture?.addEventListener("error", markBroken);
  if (picture?.complete && !picture.naturalWidth) markBroken();
}

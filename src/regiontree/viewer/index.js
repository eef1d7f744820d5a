// Arrow keys move between the images, / goes to the filter, which hides those it does not name.

"use strict";

const MANY = 8; // images from which on a filter helps

const filter = document.getElementById("filter");
const facts = document.getElementById("facts");
const items = Array.from(document.querySelectorAll("#images > li"), (item) => ({
  item,
  link: item.querySelector("a"),
  name: plain(item.querySelector(".name").textContent),
}));
const all = facts.textContent;

/** Text to compare: case and accents aside. */
function plain(text) {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
}

function narrow() {
  const words = plain(filter.value).split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const { item, name } of items) {
    item.hidden = !words.every((word) => name.includes(word));
    shown += !item.hidden;
  }
  facts.textContent = shown < items.length ? `${shown.toLocaleString("en")} of ${all}` : all;
}

const links = () => items.filter(({ item }) => !item.hidden).map(({ link }) => link);

/** The link nearest to the middle of this one, in the row above (-1) or below (1). */
function inNextRow(link, direction) {
  const here = link.getBoundingClientRect(), middle = here.left + here.width / 2;
  let best = null, least = Infinity;
  for (const other of links()) {
    const there = other.getBoundingClientRect();
    const rows = (there.top - here.top) * direction;
    if (rows < 1) continue;
    const cost = rows * 1e6 + Math.abs(there.left + there.width / 2 - middle);
    if (cost < least) [best, least] = [other, cost];
  }
  return best;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target === filter) {
    if (event.key === "Escape") {
      filter.value = "";
      narrow();
    } else if (event.key === "ArrowDown" || event.key === "Enter") {
      links()[0]?.focus();
      event.preventDefault();
    }
    return;
  }
  const shown = links(), at = shown.indexOf(document.activeElement);
  if (event.key === "/" && !filter.hidden) filter.focus();
  else if (event.key === "ArrowRight") shown[at + 1]?.focus();
  else if (event.key === "ArrowLeft") shown[at < 0 ? 0 : at - 1]?.focus();
  else if (event.key === "Home") shown[0]?.focus();
  else if (event.key === "End") shown.at(-1)?.focus();
  else if (event.key === "ArrowDown" && at >= 0) inNextRow(shown[at], 1)?.focus();
  else if (event.key === "ArrowUp" && at >= 0) inNextRow(shown[at], -1)?.focus();
  else return;
  event.preventDefault();
});

filter.hidden = items.length < MANY;
filter.addEventListener("input", narrow);
narrow(); // going back to the page keeps what was typed

for (const { link } of items) {
  const picture = link.querySelector("img");
  const fail = () => link.classList.add("broken");
  picture.addEventListener("error", fail);
  if (picture.complete && !picture.naturalWidth) fail();
}

// Pictures of regions and photographs, side by side, as links.

import { make } from "./elements.js";

const SIDE = 96; // pixels, as in categories.css

/**
 * A region to show.
 *
 * @typedef {object} Shown
 * @property {number} photo
 * @property {number} node
 * @property {string} [title]
 */

/**
 * The picture of a region, with a link to its photograph and one to the regions like it.
 *
 * @param {Shown} region
 */
export function regionTile({ photo, node, title = "" }) {
  const picture = make("img", {
    src: `region/${photo}/${node}.jpg`,
    alt: "",
    width: SIDE,
    height: SIDE,
    loading: "lazy",
    decoding: "async",
    fetchPriority: "low",
  });
  const link = make("a", { href: `#photograph=${photo},${node}`, title }, picture);
  link.ariaLabel = title || `Region ${node} of photograph ${photo + 1}`;
  const like = make("a", {
    className: "like",
    href: `#like=${photo},${node}`,
    title: "Find more like this",
    textContent: "≈",
    tabIndex: -1, // the key l does the same
  });
  like.ariaLabel = "Find more like this";
  const tile = make("span", { className: "tile" }, link, like);
  tile.dataset.photo = String(photo);
  tile.dataset.node = String(node);
  return tile;
}

/**
 * Regions from the numbers that the server sends: photograph and node of each, in turn.
 *
 * @param {number[]} flat
 * @returns {Shown[]}
 */
export function regionsOf(flat) {
  /** @type {Shown[]} */
  const regions = [];
  for (let i = 0; i < flat.length; i += 2) regions.push({ photo: flat[i], node: flat[i + 1] });
  return regions;
}

/**
 * Stop loading the pictures of an element, which leaves the page: a browser loads only a few at a
 * time, and others wait.
 *
 * @param {HTMLElement} element
 */
export function stopLoading(element) {
  for (const picture of element.querySelectorAll("img")) {
    if (!picture.complete) picture.removeAttribute("src");
  }
}

/**
 * The picture of a photograph, with a link to it.
 *
 * @param {number} photo
 * @param {string} name
 */
export function photographTile(photo, name) {
  const picture = make("img", {
    src: `photograph/${photo}/small.jpg`,
    alt: "",
    loading: "lazy",
    decoding: "async",
  });
  const caption = make("span", { className: "caption", textContent: name });
  return make("a", { className: "photograph", href: `#photograph=${photo}`, title: name }, picture, caption);
}

/**
 * Show many tiles, some at a time: more are asked for when the end comes into sight.
 *
 * @template T
 * @param {HTMLElement} list
 * @param {(first: number) => Promise<{ total: number, items: T[] }>} more
 * @param {(item: T) => HTMLElement} tile
 * @param {(error: unknown) => void} failed
 */
export function showMany(list, more, tile, failed) {
  let first = 0;
  let asking = false;
  const end = make("div", { className: "end" });
  list.append(end);

  const extend = async () => {
    if (asking || !list.isConnected) return;
    asking = true;
    try {
      const { total, items } = await more(first);
      if (!list.isConnected) return;
      first += items.length;
      const block = make("div", { className: "block" }, ...items.map(tile));
      end.before(block);
      if (first >= total || !items.length) {
        watcher.disconnect();
        end.remove();
      }
    } catch (error) {
      watcher.disconnect();
      failed(error);
    } finally {
      asking = false;
    }
    if (list.isConnected && end.isConnected && isNear(end)) extend();
  };

  const watcher = new IntersectionObserver(
    (entries) => {
      if (entries.some((entry) => entry.isIntersecting)) extend();
    },
    { rootMargin: "600px" },
  );
  watcher.observe(end);
}

/** @param {HTMLElement} element */
function isNear(element) {
  return element.getBoundingClientRect().top < innerHeight + 600;
}

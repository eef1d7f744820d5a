// The head of the page: the name of the image, facts, links to other images, and notices.

import { byId, make } from "./elements.js";

/** @import { Payload } from "./payload.js" */

/**
 * Fill in the head.
 *
 * @param {Payload} data
 * @param {string} summary
 */
export function showHeader({ name, links, notices }, summary) {
  byId("name", HTMLElement).textContent = name;
  byId("facts", HTMLElement).textContent = summary;
  for (const [id, url] of [
    ["previous", links.previous],
    ["index", links.index],
    ["next", links.next],
  ]) {
    const link = byId(String(id), HTMLAnchorElement);
    if (url) link.href = url;
    else link.hidden = true;
  }
  byId("links", HTMLElement).hidden = !(links.previous || links.index || links.next);
  byId("turning", HTMLElement).hidden = !(links.previous || links.next);
  const box = byId("notices", HTMLElement);
  box.replaceChildren(...notices.map((notice) => make("p", {}, notice)));
  box.hidden = !notices.length;
}

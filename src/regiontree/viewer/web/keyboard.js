// The keys of the page.

/**
 * @import { Granularity } from "./granularity.js"
 * @import { Links } from "./payload.js"
 * @import { Direction, State } from "./state.js"
 */

/** @type {Record<string, Direction>} */
const ARROWS = { ArrowUp: "up", ArrowDown: "down", ArrowLeft: "left", ArrowRight: "right" };

/** @type {Record<string, number>} steps of the slider */
const SLIDER_STEPS = {
  ArrowRight: 1,
  ArrowUp: 1,
  ArrowLeft: -1,
  ArrowDown: -1,
  PageUp: 10,
  PageDown: -10,
  Home: -Infinity,
  End: Infinity,
};

/**
 * Answer keys.
 *
 * @param {State} state
 * @param {Granularity} granularity
 * @param {Links} links
 */
export function answerKeys(state, granularity, links) {
  /** @type {Record<string, () => void>} */
  const actions = {
    "+": () => state.step(1),
    "=": () => state.step(1), // the same key as +, without Shift
    "-": () => state.step(-1),
    n: () => granularity.showNatural(),
    "[": () => links.previous && location.assign(links.previous),
    "]": () => links.next && location.assign(links.next),
    Escape: () => state.select(-1),
  };

  /** @param {KeyboardEvent} event */
  const actionOf = ({ key, target }) => {
    if (granularity.isSlider(target) && key in SLIDER_STEPS) {
      return () => state.step(SLIDER_STEPS[key]);
    }
    if (!(key in ARROWS)) return actions[key];
    // Other inputs have a use of their own for arrows. If nothing is selected, arrows scroll the page.
    const here = target instanceof Element ? target : document.body;
    if (here.matches("input") || (state.selected < 0 && here.id !== "tree")) return undefined;
    return () => state.walk(ARROWS[key]);
  };

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const action = actionOf(event);
    if (!action) return;
    event.preventDefault();
    granularity.pause();
    action();
  });
}

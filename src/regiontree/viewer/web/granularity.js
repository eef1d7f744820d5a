// How many regions are shown: the number, the slider, and the buttons beside it.

import { announce, byId, make } from "./elements.js";
import { countAt, positionOf } from "./scale.js";
import { grouped, plural } from "./words.js";

/** @import { State } from "./state.js" */

const WHOLE_RANGE = 12_000; // milliseconds in which playing goes from one end to the other

export class Granularity {
  #number = byId("count", HTMLElement);
  #slider = byId("slider", HTMLInputElement);
  #playButton = byId("play", HTMLButtonElement);
  #naturalButton = byId("natural", HTMLButtonElement);
  /** @type {{ from: number, began: number } | null} where playing began, and when */
  #playing = null;

  /**
   * @param {State} state
   * @param {number} natural - the natural cut
   */
  constructor(state, natural) {
    const { tree } = state;
    this.state = state;
    this.natural = natural;
    this.#naturalButton.textContent = `Natural: ${grouped(tree.counts[natural])}`;
    for (const control of [this.#slider, this.#playButton, this.#naturalButton]) {
      control.disabled = tree.most === 1;
    }
    this.#slider.addEventListener("input", () => {
      const position = this.#slider.valueAsNumber;
      this.pause();
      this.#moveTo(position);
    });
    this.#slider.addEventListener("change", () => this.#placeThumb());
    this.#playButton.addEventListener("click", () => {
      if (this.#playing) this.pause();
      else this.#play();
    });
    this.#naturalButton.addEventListener("click", () => this.showNatural());
    state.on(["cut"], () => this.#show());
    this.#show();
  }

  /** @param {EventTarget | null} target */
  isSlider(target) {
    return target === this.#slider;
  }

  showNatural() {
    this.pause();
    this.state.setCut(this.natural);
  }

  /** Show the finest cut at a position. The thumb stays there, though the cut may lie beside it.
   *
   * @param {number} position - 0 to 1
   */
  #moveTo(position) {
    const { tree } = this.state;
    this.state.setCut(tree.steps[tree.stepOf(countAt(position, tree.most))]);
    this.#slider.valueAsNumber = position;
  }

  /** Put the thumb where the cut lies. */
  #placeThumb() {
    this.#slider.valueAsNumber = positionOf(this.state.count, this.state.tree.most);
  }

  #play() {
    const { count, tree } = this.state;
    const from = count === tree.most ? 0 : positionOf(count, tree.most);
    this.#playing = { from, began: performance.now() };
    this.#playButton.textContent = "Pause";
    requestAnimationFrame((now) => this.#advance(now));
  }

  pause() {
    if (!this.#playing) return;
    this.#playing = null;
    this.#playButton.textContent = "Play";
    this.#placeThumb();
  }

  /** @param {number} now - milliseconds */
  #advance(now) {
    if (!this.#playing) return;
    const { from, began } = this.#playing;
    const position = Math.min(1, from + Math.max(0, now - began) / WHOLE_RANGE);
    this.#moveTo(position);
    if (position < 1) requestAnimationFrame((next) => this.#advance(next));
    else this.pause();
  }

  #show() {
    const { count, m, tree } = this.state;
    const most = tree.most > 1 ? `of ${grouped(tree.most)}` : "only: the image was not divided";
    const noun = count === 1 ? " region " : " regions ";
    this.#number.replaceChildren(make("b", {}, grouped(count)), noun, make("span", {}, most));
    this.#slider.ariaValueText = plural(count, "region");
    this.#naturalButton.ariaPressed = String(m === this.natural);
    this.#placeThumb();
    // The screen reader reads a slider in focus by itself. Playing would make it read without end.
    if (!this.#playing && document.activeElement !== this.#slider) {
      announce(`${plural(count, "region")}.`);
    }
  }
}

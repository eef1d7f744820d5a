// The controls of the appearance: colours, opacity, borders, photograph; and the way to the pieces.

import { byId } from "./elements.js";

/**
 * @import { Payload } from "./payload.js"
 * @import { PaletteName, State } from "./state.js"
 */

/**
 * Make the controls work.
 *
 * @param {State} state
 * @param {Payload} data
 */
export function addLooks(state, data) {
  const controls = byId("looks", HTMLElement);
  const opacity = byId("opacity", HTMLInputElement);
  const borders = byId("borders", HTMLInputElement);
  const photo = byId("shown", HTMLInputElement);
  /** @type {NodeListOf<HTMLInputElement>} */
  const choices = controls.querySelectorAll("input[name=colors]");
  for (const choice of choices) {
    if (choice.value === "means") choice.disabled = !data.means;
  }
  photo.disabled = !data.photo;
  photo.checked = state.looks.photo;

  const { whole, pieces: divided } = data.links;
  const pieces = byId("pieces", HTMLInputElement);
  byId("divided", HTMLElement).hidden = !(whole || divided);
  pieces.checked = Boolean(whole);
  pieces.addEventListener("input", (event) => {
    event.stopPropagation();
    pieces.checked = Boolean(whole); // for who comes back to this page
    location.assign(whole ?? divided ?? "");
  });

  controls.addEventListener("input", () => {
    const chosen = Array.from(choices).find((choice) => choice.checked);
    state.setLooks({
      palette: /** @type {PaletteName} */ (chosen?.value ?? "hierarchy"),
      opacity: opacity.valueAsNumber,
      borders: borders.checked,
      photo: photo.checked,
    });
  });
}

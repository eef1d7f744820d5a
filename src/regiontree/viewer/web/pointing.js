// What a mouse or a finger does: pointing at a region shows it, a click or a tap selects it.

/** @import { State } from "./state.js" */

/**
 * Answer the pointer over a canvas.
 *
 * @param {{ canvas: HTMLCanvasElement, nodeAt(event: MouseEvent): number }} picture
 * @param {State} state
 */
export function answerPointer(picture, state) {
  const { canvas } = picture;
  let touched = false;
  canvas.addEventListener("pointerdown", (event) => {
    touched = event.pointerType === "touch";
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "touch") state.hover(picture.nodeAt(event));
  });
  canvas.addEventListener("pointerleave", () => state.hover(-1));
  canvas.addEventListener("click", (event) => {
    state.select(picture.nodeAt(event));
    // Now that a region is selected, the pointer is over the next smaller one. A finger has gone.
    if (!touched) state.hover(picture.nodeAt(event));
  });
}

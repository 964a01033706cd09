// Keeps the end of the conversation in sight, unless a person has scrolled away from it.

import { byId } from "./dom.js";

/** Below this width the page scrolls whole; above it, the conversation does by itself. */
export const NARROW = window.matchMedia("(max-width: 56rem)");
const NEAR = 120;

/** Call `change`, which may make the conversation longer, and go to its end if that was in sight. */
export function following(change) {
  const box = scroller();
  const near = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
  change();
  if (near) toEnd();
}

/** Show the end of the conversation. */
export function toEnd() {
  const box = scroller();
  box.scrollTop = box.scrollHeight;
}

function scroller() {
  return NARROW.matches ? document.scrollingElement : byId("scroll");
}

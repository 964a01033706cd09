// Copying: by the browser's clipboard, which plain HTTP has only on localhost, else by hand.

import { announce, byId } from "./dom.js";

const SHOWN_MS = 2000;

/** Copy `text`; `button` says that it was done. */
export async function copy(text, button) {
  if (!(await toClipboard(text))) {
    byId("text").value = text;
    byId("text-dialog").showModal();
    byId("text").select();
    return;
  }
  announce("Copied to the clipboard.");
  button.dataset.label ??= button.textContent;
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = button.dataset.label), SHOWN_MS);
}

async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
